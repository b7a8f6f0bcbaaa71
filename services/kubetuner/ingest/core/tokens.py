"""How many of CLIP's tokens a caption takes, counted with the model's own vocabulary and without torch or transformers.

The vocabulary is read where it lies: in a model's folder, in a store that the run names, or in the Hub's cache on this machine.
Nothing is brought from the Hub.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from kubetuner.diffusion import flavours
from kubetuner.errors import DataError
from kubetuner.storage import ObjectStore, places
from kubetuner.v1alpha1.training_run_pb2 import Model

MAX_TOKENS: Final = 77
"""What SDXL's text encoders read, start and end included."""
_ENDS: Final = 2
_WHOLE: Final = "tokenizer.json"
_PARTS: Final = ("vocab.json", "merges.txt")
_SPECIAL: Final = ("<|startoftext|>", "<|endoftext|>")
_WORDS: Final = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Counts tokens of captions."""

    tokenizer: Tokenizer

    def count(self, captions: Sequence[str]) -> list[int]:
        """Tokens of each caption, start and end included, before any are cut."""
        return [len(found.ids) + _ENDS for found in self.tokenizer.encode_batch(list(captions), add_special_tokens=False)]


def find(model: Model, base: Path, store: ObjectStore | None = None) -> Counter | None:
    """A counter for the model of a run, or None where its vocabulary is neither on this machine nor in a store that the run names.

    Raises DataError where it is damaged.
    """
    single = model.path.endswith(".safetensors")
    name = model.config if single else model.path
    if name.startswith((places.STORE, places.S3)):
        return _in_store(places.open_source(name, path="spec.model.path", base=base, store=store, secret=model.secret))
    if name.startswith(places.VOLUME):
        name = str(places.volume_folder(name, "spec.model.path"))
    folder = Path(name).expanduser() if name else None
    if folder is not None and not folder.is_absolute():
        folder = base / folder
    if folder is not None and os.path.isdir(folder):
        return _from_files({file: folder / "tokenizer" / file for file in (_WHOLE, *_PARTS)})
    hub_id = name or flavours.HUB_IDS[model.flavour]
    return _from_files(_in_hub_cache(hub_id, model.revision))


def _in_store(store: ObjectStore) -> Counter | None:
    with TemporaryDirectory(prefix="kubetuner-") as folder:
        files = {name: Path(folder) / name for name in (_WHOLE, *_PARTS)}
        for name, file in files.items():
            if store.head(f"tokenizer/{name}") is not None:
                file.write_bytes(store.get(f"tokenizer/{name}"))
        return _from_files(files)


def _in_hub_cache(hub_id: str, revision: str) -> dict[str, Path]:
    if hub_id.count("/") != 1 or importlib.util.find_spec("huggingface_hub") is None:
        return {}
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = {file: try_to_load_from_cache(hub_id, f"tokenizer/{file}", revision=revision or None) for file in (_WHOLE, *_PARTS)}
    except HFValidationError:  # not a name the Hub could have; opening the model says so in words
        return {}
    return {file: Path(path) for file, path in found.items() if isinstance(path, str)}


def _from_files(files: dict[str, Path]) -> Counter | None:
    there = {name: path for name, path in files.items() if path.is_file()}
    try:
        if all(part in there for part in _PARTS):
            lines = there[_PARTS[1]].read_text("utf-8").splitlines()
            return _clip(json.loads(there[_PARTS[0]].read_bytes()), [line for line in lines if line and not line.startswith("#version")])
        if _WHOLE in there:
            model = json.loads(there[_WHOLE].read_bytes())["model"]
            return _clip(model["vocab"], model["merges"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        folder = next(iter(there.values())).parent
        raise DataError(f"{folder}: the tokenizer's files are damaged ({type(error).__name__}: {error}); bring the model again") from error
    return None


def _clip(vocabulary: dict[str, int], merges: Sequence[str | Sequence[str]]) -> Counter:
    """CLIP's byte-pair encoding (Radford et al. 2021): text in lower case, words of letters, single digits, runs of signs."""
    pairs: list[tuple[str, str]] = []
    for row in merges:
        left, right = row.split(" ") if isinstance(row, str) else row
        if not {left, right, left + right} <= vocabulary.keys():  # the package itself would raise a plain Exception
            raise ValueError(f"the merge {left!r} {right!r} makes no token of the vocabulary")
        pairs.append((left, right))
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, unk_token=_SPECIAL[1], end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens([token for token in _SPECIAL if token in vocabulary])
    return Counter(tokenizer=tokenizer)
