"""Datasets and model folders that users bring into the shared store, file by file, compared by content.

datasets/<name>/<path>      the files as they are: `store:datasets/<name>` names them all. models/<name>/<path> likewise
uploads/<which>/<id>.json   which = datasets/<name> or models/<name>: (path, size, SHA-256) of files whose content was checked as they came

A file can be seen once its size and SHA-256 are right, whole or not at all. What an upload book says of a file counts as long as the file
was not written after the book, by the store's own clock; one that came by other ways is compared by sending it again.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

from kubetuner.artifacts.files import File
from kubetuner.artifacts.objects import measure
from kubetuner.errors import ArtifactError, InputError
from kubetuner.storage import ObjectStore
from kubetuner.storage.below import Below
from kubetuner.storage.store import ObjectInfo, check_key

KINDS: Final = ("datasets", "models")
UPLOADS: Final = "uploads"
_NAME: Final = re.compile(r"(datasets|models)(/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)+")
_FORMAT: Final = 1
_IN_MEMORY: Final = 8 * 1024 * 1024
_ROWS: Final = 512
_SECONDS_AT_RISK: Final = 20.0
_BOOKS: Final = 32


class Dataset:
    """The files below one name. Threads may share it."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        """`name` begins with datasets/ or models/. Raises InputError where it is no such name."""
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a dataset or model; give datasets/NAME or models/NAME")
        self.name = name
        self.files = Below(store, name)
        self._store = store
        self._noted: list[File] = []
        self._since = time.monotonic()
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """What a run writes to mean it."""
        return f"store:{self.name}"

    def digests(self) -> dict[str, File]:
        """The files whose content is known, by path."""
        return _known(self._store, self.name, {info.key: info for info in self.files.list()})

    def compare(self, files: Iterable[File]) -> list[str]:
        """Paths of those that are missing here, or that are not known to have the same content; in their order."""
        known = self.digests()
        return [file.path for file in files if known.get(file.path) != file]

    def take(self, file: File, data: bytes | Path) -> None:
        """Write a file, in place of what lay there. Raises InputError where the data is not what `file` says."""
        check_path(file.path)
        size, sha256 = measure(data)
        if (size, sha256) != (file.size, file.sha256):
            raise InputError(
                f"{file.path}: {size} bytes with SHA-256 {sha256} came, but {file.size} with {file.sha256} were announced; "
                "the file changed, or its transfer was damaged: send it again"
            )
        self.files.put(file.path, data, replace=True)
        with self._lock:
            self._noted.append(file)
            due = len(self._noted) >= _ROWS or time.monotonic() - self._since > _SECONDS_AT_RISK
        if due:
            self.flush()

    @contextmanager
    def receive(self, file: File) -> Iterator[Incoming]:
        """Takes one file's bytes in order; leaving it checks and writes the file, an exception leaves nothing."""
        check_path(file.path)
        with TemporaryDirectory(prefix="kubetuner-") as folder:
            place = Path(folder) / "file"
            with io.BytesIO() if file.size <= _IN_MEMORY else open(place, "w+b") as data:
                incoming = Incoming(file, data)
                yield incoming
                incoming.finish()
                data.flush()
                self.take(file, data.getvalue() if isinstance(data, io.BytesIO) else place)

    def flush(self) -> None:
        """Write down what was taken since."""
        with self._lock:
            noted, self._noted = self._noted, []
            self._since = time.monotonic()
        if noted:
            _write_book(self._store, self.name, noted)

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files."""
        for path in paths:
            self.files.delete(path)


class Incoming:
    """One file on its way."""

    def __init__(self, file: File, data: IO[bytes]) -> None:
        self._file = file
        self._data = data
        self._came = 0
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """The next bytes. Raises InputError where they are more than was announced."""
        self._came += len(data)
        if self._came > self._file.size:
            raise InputError(f"{self._file.path}: more than the {self._file.size} bytes came that were announced; send it again")
        self._sha256.update(data)
        self._data.write(data)

    def finish(self) -> None:
        """Raises InputError where the file is not whole, or not the one that was announced."""
        if self._came != self._file.size or self._sha256.hexdigest() != self._file.sha256:
            raise InputError(
                f"{self._file.path}: {self._came} bytes with SHA-256 {self._sha256.hexdigest()} came, but {self._file.size} with "
                f"{self._file.sha256} were announced; the file changed, or its transfer was damaged: send it again"
            )


def digests_below(store: ObjectStore, prefix: str) -> dict[str, File]:
    """The files below a prefix of the store whose content is known from an upload; none where it is no dataset or model."""
    return Dataset(store, prefix).digests() if _NAME.fullmatch(prefix) else {}


def list_folder(folder: Path) -> list[tuple[Path, str]]:
    """The files below a folder, or a single file, with the paths that they have in a dataset; in their order, hidden ones left out.

    Raises InputError where there are none, or where one has a name that no dataset can hold.
    """
    if folder.is_file():
        return [(folder, folder.name)]
    if not folder.is_dir():
        raise InputError(f"{folder}: is not there; give the folder of a dataset or a model, or a .safetensors file")
    found = []
    for place in sorted(path for path in folder.rglob("*") if path.is_file()):
        path = place.relative_to(folder).as_posix()
        if not any(part.startswith(".") for part in path.split("/")):
            check_path(path)
            found.append((place, path))
    if not found:
        raise InputError(f"{folder}: holds no files; give the folder of a dataset or a model")
    return found


def check_path(path: str) -> None:
    """Raises InputError where no file of a dataset can have this path."""
    try:
        check_key(path)
        path.encode()
    except (ArtifactError, UnicodeEncodeError) as error:
        raise InputError(f"{path!r} is no path of a file below a dataset; rename it ({error})") from error


def books(store: ObjectStore, name: str) -> list[ObjectInfo]:
    """The upload books of a dataset or model, the oldest first."""
    prefix = f"{UPLOADS}/{name}/"
    found = [info for info in store.list(prefix) if "/" not in info.key.removeprefix(prefix)]
    return sorted(found, key=lambda info: (info.modified, info.key))


def _known(store: ObjectStore, name: str, there: dict[str, ObjectInfo]) -> dict[str, File]:
    found: dict[str, File] = {}
    read = books(store, name)
    for book in read:
        for file in _read_book(store, book.key):
            info = there.get(file.path)
            if info is not None and info.size == file.size and info.modified <= book.modified:
                found[file.path] = file
            elif info is not None and info.modified <= book.modified:
                found.pop(file.path, None)
    if len(read) > _BOOKS:  # one book in place of many, of what still holds
        _write_book(store, name, found.values())
        for book in read:
            store.delete(book.key)
    return found


def _write_book(store: ObjectStore, name: str, files: Iterable[File]) -> None:
    rows = [[file.path, file.size, file.sha256] for file in files]
    document = {"format": _FORMAT, "files": rows}
    written = f"{time.time_ns():020d}-{uuid.uuid4().hex}"  # in order where the store's clock ticks too slowly to tell
    store.put(f"{UPLOADS}/{name}/{written}.json", json.dumps(document, ensure_ascii=False).encode())


def _read_book(store: ObjectStore, key: str) -> list[File]:
    """Its rows; none of one that is damaged, of another format or gone: its files are sent again, no more."""
    try:
        document = json.loads(store.get(key))
        if document["format"] != _FORMAT:
            return []
        return [File(path=str(path), size=int(size), sha256=str(sha256)) for path, size, sha256 in document["files"]]
    except (ArtifactError, ValueError, TypeError, LookupError):
        return []
