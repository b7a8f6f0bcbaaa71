"""A run's files straight from an object store: the same as the controller gives."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

from kubetuner.artifacts import outputs
from kubetuner.artifacts.objects import ArtifactRef, damaged
from kubetuner.client.download import Told, is_right, safe
from kubetuner.errors import InputError, Interrupted, KubeTunerError
from kubetuner.storage import ObjectStore, transfer


def from_store(name: str, store: ObjectStore, out: Path, told: Told, stopped: threading.Event) -> list[Path]:
    """Bring the files of the newest run of a name; gives their paths. What is there and right is not brought again."""
    found = outputs.of_name(store, name)
    if not found:
        listed = f"kubetuner store ls outputs --store {store.uri}"
        raise InputError(f"{name}: no run of this name has left files in {store.uri}; `{listed}` lists those that have")
    ref, index = found[-1]
    files = outputs.files(ref, index)
    made = outputs.made(store, index)
    total = sum(file.size for file in files)
    for file in files:
        _bring(store, ref, file, out / safe(file.path), partial(_tell, told, stopped, file.path, total))
    try:
        for path, data in made.items():
            beside = out / f".{path}.part"
            beside.write_bytes(data)
            os.replace(beside, out / path)
    except OSError as error:
        raise KubeTunerError(f"{out}: cannot be written ({error.strerror}); free the place, or give another folder") from error
    return [out / path for path in sorted([*(file.path for file in files), *made])]


def _bring(store: ObjectStore, ref: ArtifactRef, file: outputs.File, target: Path, moved: transfer.Moved) -> None:
    if is_right(target, file.size, file.sha256):
        moved(file.size)
        return
    beside = target.with_name(f".{target.name}.{file.sha256[:12]}.part")
    digest = transfer.into_file(transfer.of(store, file.key), file.size, beside, moved)
    if digest != file.sha256:
        beside.unlink()
        raise damaged(ref, file.path, "differs from the SHA-256 in its index")
    os.replace(beside, target)


def _tell(told: Told, stopped: threading.Event, path: str, total: int, size: int) -> None:
    if stopped.is_set():
        raise Interrupted("interrupted; what came is kept, run the same command again to go on")
    told(path, size, total)
