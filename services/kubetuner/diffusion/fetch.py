"""A base model that lies in the store: its parts come to this machine when they are asked for, each once for all processes. No torch.

$KUBETUNER_CACHE/models/<fingerprint>/<path>      as in the store; a volume that is mounted there serves all pods of a node

A file is read by ranges side by side, checked against its SHA-256 and only then put in its place. One that is found there is checked too,
and replaced where it is not as it was written.
"""

from __future__ import annotations

import os
from pathlib import Path

from kubetuner.artifacts import model as models
from kubetuner.artifacts import objects
from kubetuner.artifacts.files import File
from kubetuner.artifacts.objects import ArtifactRef, Json
from kubetuner.diffusion import digests
from kubetuner.errors import ArtifactError, DataError, SpecError
from kubetuner.storage import ObjectStore, transfer


class StoredModel:
    """The files of a model in a store. Processes and threads may share its folder."""

    def __init__(self, store: ObjectStore, ref: ArtifactRef, index: Json, cache: Path) -> None:
        self._store = store
        self._ref = ref
        self._index = index
        self._files = {file.path: file for file in models.files(index)}
        self._root = cache / "models" / ref.fingerprint
        self._sound: set[str] = set()

    @property
    def variant(self) -> str:
        """The variant of its weight files."""
        return str(self._index["variant"])

    @property
    def own_vae(self) -> bool:
        """Whether the run's own autoencoder was brought with it."""
        return models.folder(self._files, "vae") != "vae"

    def digest(self, part: str) -> str:
        """Stands for the content of a part, as of the same folder on a laptop. Raises DataError where the model has no such part."""
        if part not in self._index["digests"]:
            raise DataError(f"model {models.address(self._ref)}: the part {part}/ is missing; give a complete SDXL model")
        return str(self._index["digests"][part])

    def folder(self, part: str, *, weights: bool = True) -> Path:
        """The folder of a part, all of it on this machine; without `weights` its small files only."""
        name = models.folder(self._files, part)
        paths = [path for path in self._files if path.startswith(f"{name}/") and (weights or not path.endswith(".safetensors"))]
        if not paths:
            raise DataError(f"model {models.address(self._ref)}: the part {part}/ is missing; give a complete SDXL model")
        for path in [*paths, *({models.INDEX} & self._files.keys())]:
            self.file(path)
        return self._root / name

    def single(self, part: str) -> Path | None:
        """The weights of a part out of a single-file checkpoint; None where the part has a folder of its own."""
        path = f"{models.CHECKPOINT}/{part}.safetensors"
        return self.file(path) if path in self._files else None

    def has_weights(self, part: str) -> bool:
        """Whether weights of a part lie in the store; reads nothing."""
        folder = f"{models.folder(self._files, part)}/"
        single = f"{models.CHECKPOINT}/{part}.safetensors"
        return single in self._files or any(path.startswith(folder) and path.endswith(".safetensors") for path in self._files)

    def read_index(self) -> Path | None:
        """model_index.json on this machine, or None where the model has none."""
        return self.file(models.INDEX) if models.INDEX in self._files else None

    def file(self, path: str) -> Path:
        """A file on this machine, as it was written."""
        wanted, place = self._files[path], self._root / path
        if path in self._sound and place.is_file():
            return place
        if not _is_sound(place, wanted):
            with transfer.locked(place.with_name(f".{place.name}.lock")):
                if not _is_sound(place, wanted):  # nobody brought it while we waited
                    self._fetch(wanted, place)
        self._sound.add(path)
        return place

    def _fetch(self, wanted: File, place: Path) -> None:
        arriving = place.with_name(f".{place.name}.part")
        for _ in range(2):  # what an earlier process left of it may be of another file
            begun = arriving.exists()
            with objects.reading(self._ref, wanted.path):
                digest = transfer.into_file(transfer.of(self._store, self._ref.key(wanted.path)), wanted.size, arriving)
            if digest == wanted.sha256:
                try:
                    os.replace(arriving, place)
                except OSError as error:
                    raise transfer.unwritable(place, error) from error
                return
            arriving.unlink(missing_ok=True)
            if not begun:
                break
        raise objects.damaged(self._ref, wanted.path, "differs from the SHA-256 in its index")


def open_stored(ref: ArtifactRef, store: ObjectStore | None, *, path: str = "spec.model.path", cache: Path | None = None) -> StoredModel:
    """The model of a reference. Raises SpecError (at `path`) where it is not in the store."""
    if store is None:
        raise SpecError(path, f"{models.address(ref)} lies in the run's store, and there is none here; give --store")
    try:
        index = objects.find(store, ref)
    except ArtifactError as error:
        raise ArtifactError(f"{error} (its base model is brought again by the stage ingest)") from error
    if index is None:
        raise SpecError(path, f"{models.address(ref)} is not in {store.uri}; name the place that it was brought from, and ingest brings it")
    return StoredModel(store, ref, index, cache or transfer.cache_folder())


def _is_sound(place: Path, wanted: File) -> bool:
    try:
        return place.stat().st_size == wanted.size and digests.sha256(place) == wanted.sha256
    except OSError:
        return False
