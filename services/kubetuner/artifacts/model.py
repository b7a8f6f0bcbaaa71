"""The model: the base model's files, brought into the store once, by content.

model/<fingerprint>/index.json      every file with size and SHA-256; `digests` of the parts, `variant`, and the `name` and commit
                                    (`revision`) that it was brought by
model/<fingerprint>/<path>          the files, under their paths in the model's folder

The fingerprint is of the paths and contents alone. Besides the folders of diffusers' layout there may be

own_vae/                            an autoencoder that the run puts in the place of the model's own
checkpoint/<part>.safetensors       a part's weights out of a single-file checkpoint, under the names that they have there
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kubetuner.artifacts import objects
from kubetuner.artifacts.files import File
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.storage import ObjectStore, places

NOUN: Final = "model"
FORMAT: Final = 1
OWN_VAE: Final = "own_vae"
CHECKPOINT: Final = "checkpoint"
PARTS: Final = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
INDEX: Final = "model_index.json"
"""The one file beside the parts' folders."""
_ADDRESS: Final = re.compile(r"store:(?://)?model/([0-9a-f]{40})/?")


def reference(files: Iterable[File]) -> ArtifactRef:
    """Name of the model that these files are."""
    rows = sorted([file.path, file.sha256] for file in files)
    return ArtifactRef(noun=NOUN, fingerprint=fingerprint(NOUN, FORMAT, rows))


def address(ref: ArtifactRef) -> str:
    """What `spec.model.path` says to mean this model."""
    return f"store:{ref.noun}/{ref.fingerprint}"


def lies_elsewhere(address: str) -> bool:
    """Whether an address lies neither on this machine nor on the Hub, so that it must be brought before it can be read."""
    return address.startswith((places.STORE, places.S3)) and named_by(address) is None


def named_by(path: str) -> ArtifactRef | None:
    """The model that a `spec.model.path` means, or None where it is another address."""
    match = _ADDRESS.fullmatch(path)
    return None if match is None else ArtifactRef(noun=NOUN, fingerprint=match[1])


def seal(store: ObjectStore, files: Sequence[File], *, digests: Mapping[str, str], variant: str, name: str, revision: str) -> ArtifactRef:
    """Write the index of files that are all in the store."""
    ref = reference(files)
    rows = [{"name": file.path, "size": file.size, "sha256": file.sha256} for file in sorted(files, key=lambda file: file.path)]
    about = {"name": name, "variant": variant, "revision": revision}
    objects.seal(store, ref, {"format": FORMAT, **about, "digests": dict(digests)}, rows)
    return ref


def files(index: Json) -> list[File]:
    """The files that an index names."""
    return [File(path=row["name"], size=row["size"], sha256=row["sha256"]) for row in index["objects"]]


def folder(paths: Iterable[str], part: str) -> str:
    """The folder of a part among a model's paths."""
    return OWN_VAE if part == "vae" and any(path.startswith(f"{OWN_VAE}/") for path in paths) else part


def digest(part: str, rows: Iterable[Sequence[object]]) -> str:
    """Stands for the content of a part: (name, SHA-256) of its files, behind (name, type, shape, SHA-256) of tensors of a single file."""
    return fingerprint("part", part, list(rows))


def name_of(store: ObjectStore, path: str, flavour: str) -> str:
    """What people call the model that a run names: the last part of its address, or what it was called when it was brought."""
    ref = named_by(path)
    if ref is not None and (index := objects.find(store, ref)) is not None:
        return str(index["name"])
    return short_name(path, flavour)


def short_name(path: str, flavour: str) -> str:
    """The last part of an address, or the flavour where none is given."""
    return re.split(r"[/:]", path.rstrip("/"))[-1] if path else flavour
