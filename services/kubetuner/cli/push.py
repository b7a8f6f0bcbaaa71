"""A folder straight into an object store, as a dataset or a model: compared by content, and only what is missing sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from kubetuner.artifacts.dataset import Dataset, list_folder
from kubetuner.artifacts.files import File
from kubetuner.context import Progress
from kubetuner.diffusion import digests
from kubetuner.errors import InputError, Interrupted
from kubetuner.storage import open_store

_AT_ONCE: Final = 8


def to_store(folder: Path, name: str, uri: str, shown: Progress, stopped: threading.Event) -> dict[str, Any]:
    """Push, and say what was done."""
    dataset = Dataset(open_store(uri, note=shown.note), name)
    places = {path: place for place, path in list_folder(folder)}
    files = list(_described(places, shown, stopped))
    missing = set(dataset.compare(files))
    if others := sum(info.key not in places for info in dataset.files.list()):
        shown.note(
            f"{others} files of {dataset.uri} are not in {folder}; they stay, until `kubetuner store rm {dataset.name}` takes all away"
        )
    away = [file for file in files if file.path in missing]
    shown.start("sent", "bytes", sum(file.size for file in away))

    def send(file: File) -> None:
        if not stopped.is_set():
            dataset.take(file, places[file.path])
            shown.advance(file.size)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="push") as threads:
        try:
            for done in [threads.submit(send, file) for file in away]:
                done.result()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
            dataset.flush()
    if stopped.is_set():
        raise Interrupted("interrupted; what came whole is kept, run the same command again to go on")
    return {"uri": dataset.uri, "files": len(files), "sent": len(away), "sentBytes": sum(file.size for file in away)}


def _described(places: Mapping[str, Path], shown: Progress, stopped: threading.Event) -> Iterator[File]:
    """Each file by its content; a model's large weights are hashed once for all pushes."""
    sizes = {path: place.stat().st_size for path, place in places.items()}
    shown.start("hashed", "bytes", sum(sizes.values()))
    for path, place in places.items():
        if stopped.is_set():
            raise Interrupted("interrupted; nothing was sent yet")
        try:
            yield File(path=path, size=sizes[path], sha256=digests.sha256(place))
        except OSError as error:
            raise InputError(f"{place}: cannot be read ({error.strerror}); give the right to it, or take it away") from error
        shown.advance(sizes[path])
