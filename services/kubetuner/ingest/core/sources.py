"""What lies in a dataset's source: keys of pictures and of caption files, and a count of everything else. Sources are only read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubetuner.artifacts.manifest import encode_path
from kubetuner.diffusion import pixels
from kubetuner.errors import ArtifactError
from kubetuner.storage import ObjectStore, open_store
from kubetuner.v1alpha1.training_run_pb2 import Dataset, TrainingRunSpec

_LONGEST_ENDING: Final = 12
CAPTION_ENDING: Final = ".txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A dataset that is not disabled, and what its source holds."""

    position: int
    """Its index in spec.datasets, for errors."""
    dataset: Dataset
    store: ObjectStore
    keys: list[str]
    """Keys of the pictures, sorted."""
    oversized: Mapping[str, int]
    """Bytes of those pictures that are too long to be read."""
    texts: frozenset[str]
    """Keys of caption files; empty where captions come from elsewhere."""
    others: Counter[str]
    """Files that are neither, by the ending of their names."""

    @property
    def path(self) -> str:
        """Place of the dataset in the spec."""
        return f"spec.datasets[{self.position}]"


def list_all(spec: TrainingRunSpec, base: Path) -> list[Source]:
    """The sources of all datasets that are not disabled, in the order of the spec. Raises SpecError where one cannot be opened."""
    return [_list(position, dataset, base) for position, dataset in enumerate(spec.datasets) if not dataset.disabled]


def read(source: Source, key: str) -> bytes | str:
    """Content of a file, or why it cannot be read, in words that name no place on this machine."""
    try:
        return source.store.get(key)
    except ArtifactError as error:
        cause = error.__cause__
        return (cause.strerror or "no access") if isinstance(cause, OSError) else "it is gone or became shorter"


def _list(position: int, dataset: Dataset, base: Path) -> Source:
    store = open_store(dataset.source.uri, path=f"spec.datasets[{position}].source.uri", base=base, create=False)
    endings = pixels.extensions()
    with_texts = dataset.caption_strategy == "textfile"
    keys: list[str] = []
    oversized: dict[str, int] = {}
    texts: set[str] = set()
    others: Counter[str] = Counter()
    for info in store.list():
        ending = _ending(info.key)
        if ending in endings:
            keys.append(info.key)
            if info.size > pixels.MAX_BYTES:
                oversized[info.key] = info.size
        elif with_texts and info.key.endswith(CAPTION_ENDING):
            texts.add(info.key)
        else:
            others[encode_path(ending)] += 1
    return Source(position=position, dataset=dataset, store=store, keys=keys, oversized=oversized, texts=frozenset(texts), others=others)


def _ending(key: str) -> str:
    """Ending of a file name in lower case with its dot; empty where there is none or it is too long to be one."""
    _, dot, ending = key.rpartition("/")[2].rpartition(".")
    return (dot + ending).lower() if dot and len(ending) < _LONGEST_ENDING else ""
