"""What lies in a dataset's source: keys of pictures, and a count of everything else. Sources are only read.

Of a picture nothing is held but its key, in a column of text: a dataset may have more pictures than Python can hold objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow as pa

from kubetuner.artifacts.manifest import decode_path, encode_path
from kubetuner.diffusion import pixels
from kubetuner.errors import ArtifactError
from kubetuner.storage import ObjectStore
from kubetuner.storage.places import open_source
from kubetuner.v1alpha1.training_run_pb2 import Dataset, TrainingRunSpec

CAPTION_ENDING: Final = ".txt"
MAX_CAPTION_BYTES: Final = 1 << 20
"""Longest caption file that is read, 1 MiB."""
_LONGEST_ENDING: Final = 12
_CHUNK: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A dataset that is not disabled, and what its source holds."""

    position: int
    """Its index in spec.datasets, for errors."""
    dataset: Dataset
    store: ObjectStore
    paths: pa.ChunkedArray
    """Keys of the pictures, sorted, as `encode_path` writes them."""
    oversized: Mapping[str, int]
    """Bytes of those pictures and caption files that are too long to be read."""
    others: Counter[str]
    """Files that are neither, by the ending of their names."""

    @property
    def path(self) -> str:
        """Place of the dataset in the spec."""
        return f"spec.datasets[{self.position}]"

    def batches(self, size: int) -> Iterator[list[str]]:
        """Keys of the pictures, `size` at a time."""
        for start in range(0, len(self.paths), size):
            yield [decode_path(path) for path in self.paths.slice(start, size).to_pylist()]


def list_all(spec: TrainingRunSpec, base: Path, store: ObjectStore | None = None) -> list[Source]:
    """The sources of all datasets that are not disabled, in the order of the spec; `store` is the run's own.

    Raises SpecError where one cannot be opened.
    """
    return [_list(position, dataset, base, store) for position, dataset in enumerate(spec.datasets) if not dataset.disabled]


def read(source: Source, key: str) -> bytes | str:
    """Content of a file, or why it cannot be read, in words that name no place on this machine."""
    try:
        return source.store.get(key)
    except ArtifactError as error:
        cause = error.__cause__
        return (cause.strerror or "no access") if isinstance(cause, OSError) else "it is gone or became shorter"


def _list(position: int, dataset: Dataset, base: Path, own: ObjectStore | None) -> Source:
    place = f"spec.datasets[{position}].source.uri"
    store = open_source(dataset.source.uri, path=place, base=base, store=own, secret=dataset.source.secret)
    endings = pixels.extensions()
    with_texts = dataset.caption_strategy == "textfile"
    oversized: dict[str, int] = {}
    others: Counter[str] = Counter()

    def pictures() -> Iterator[str]:
        for info in store.list():
            ending = _ending(info.key)
            is_text = with_texts and info.key.endswith(CAPTION_ENDING)
            if ending in endings:
                yield encode_path(info.key)
            elif not is_text:
                others[encode_path(ending)] += 1
                continue
            if info.size > (MAX_CAPTION_BYTES if is_text else pixels.MAX_BYTES):
                oversized[info.key] = info.size

    paths = _column(pictures())
    return Source(position=position, dataset=dataset, store=store, paths=paths, oversized=oversized, others=others)


def _column(values: Iterable[str]) -> pa.ChunkedArray:
    left, chunks = iter(values), []
    while chunk := list(islice(left, _CHUNK)):
        chunks.append(pa.array(chunk, pa.string()))
    return pa.chunked_array(chunks, pa.string())


def _ending(key: str) -> str:
    """Ending of a file name in lower case with its dot; empty where there is none or it is too long to be one."""
    _, dot, ending = key.rpartition("/")[2].rpartition(".")
    return (dot + ending).lower() if dot and len(ending) < _LONGEST_ENDING else ""
