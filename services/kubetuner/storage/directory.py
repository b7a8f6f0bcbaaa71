"""A store in a folder: one file an object, written beside its place, synced, then linked or renamed into it.

A link fails where the name is taken, which makes put-if-absent atomic between processes; a rename replaces. Either way a reader
sees a whole object or none, also after a power cut.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from kubetuner.errors import ArtifactError, DataError, KubeTunerError
from kubetuner.storage.store import Content, ObjectInfo, begins_keys, blocks, check_key

_INCOMING: Final = ".incoming"
_SECONDS_LEFT_ALONE: Final = 24 * 3600.0
_TRIES: Final = 100
_NOT_THERE: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG))


class DirectoryStore:
    """Objects as files below a root; symbolic links are followed for reading, each folder at most once.

    What is neither file nor folder (a pipe, a socket, a device, a link to nowhere) is listed with size 0, and is refused when it is read.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._swept = False

    @property
    def uri(self) -> str:
        return str(self.root)

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        check_key(key)
        target = self._path(key)
        incoming = self.root / _INCOMING / f"{uuid.uuid4().hex}"
        try:
            if not replace and _is_taken(target):
                return False
            self._sweep()
            incoming.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(incoming, data, durable=durable)
                return _place(incoming, target, replace=replace, durable=durable)
            finally:
                incoming.unlink(missing_ok=True)
        except OSError as error:
            raise KubeTunerError(f"{target}: cannot be written ({error.strerror}); {_cure(error)} and run again") from error

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        path = self._name(key)
        try:
            with open(path, "rb", buffering=0, opener=_open_file) as file:
                size = os.fstat(file.fileno()).st_size
                end = size if length is None else start + length
                if max(start, end) > size:
                    raise ArtifactError(f"{path}: {size} bytes long, {max(start, end)} were expected; delete it and run again")
                content = _read_exactly(file.fileno(), start, end - start)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ArtifactError(f"{path}: no such object") from error
        except OSError as error:
            raise ArtifactError(
                f"{path}: cannot be read ({error.strerror}); give the right to read it, or delete it and run again"
            ) from error
        if len(content) != end - start:
            raise ArtifactError(f"{path}: became shorter while it was read; run again")
        return content

    def head(self, key: str) -> int | None:
        path = self._path(key)
        try:
            status = path.stat()
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise KubeTunerError(f"{path}: cannot be looked at ({error.strerror}); give the right to read it and run again") from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        if not begins_keys(prefix):
            return
        base = prefix.rpartition("/")[0]
        for key in self._walk(f"{base}/" if base else ""):
            if key.startswith(prefix):
                yield _info(self.root, key)

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise KubeTunerError(f"{path}: cannot be deleted ({error.strerror}); give the right to write there and run again") from error
        for parent in path.parents:  # an empty folder is no object: leave none behind
            if parent == self.root or not _remove_if_empty(parent):
                break

    def _path(self, key: str) -> Path:
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        """Where an object lies. As text: a Path takes as long to make as a small file to read."""
        if key.startswith("/") or ".." in key.split("/"):
            raise ArtifactError(f"{key}: not a key of a store")
        return os.path.join(self.root, key)

    def _sweep(self) -> None:
        """Remove what killed writers left; once, at this process's first write. Whoever still writes has touched his file today."""
        if self._swept:
            return
        self._swept = True
        with suppress(OSError), os.scandir(self.root / _INCOMING) as entries:
            for entry in entries:
                if time.time() - entry.stat().st_mtime > _SECONDS_LEFT_ALONE:
                    os.unlink(entry.path)

    def _walk(self, prefix: str) -> Iterator[str]:
        """Keys below a folder (its own key ends with a slash, or is empty), in their order.

        Names are held of one folder and those above it, and nothing else: a listing is as long as a dataset.
        """
        seen: set[tuple[int, int]] = set()
        pending = [iter([prefix])]
        while pending:
            key = next(pending[-1], None)
            if key is None:
                pending.pop()
            elif key == "" or key.endswith("/"):
                pending.append(iter(_names(self.root, key, seen)))
            else:
                yield key


def _names(root: Path, prefix: str, seen: set[tuple[int, int]]) -> list[str]:
    """Keys of what lies in a folder; those of folders end with a slash, which puts them where the keys below them belong."""
    folder = root / prefix
    try:
        identity = folder.stat()
        if (identity.st_dev, identity.st_ino) in seen:  # a loop of symbolic links
            return []
        seen.add((identity.st_dev, identity.st_ino))
        with os.scandir(folder) as entries:
            keys = [f"{prefix}{entry.name}/" if _is_folder(entry) else prefix + entry.name for entry in entries]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return []
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); give the right to read it, or move it away") from error
    return sorted(key for key in keys if key != f"{_INCOMING}/")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _info(root: Path, key: str) -> ObjectInfo:
    try:
        status = os.stat(f"{root}/{key}")
    except OSError:  # a link to nowhere or to itself, or gone meanwhile: it is listed, and whoever reads it is told
        return ObjectInfo(key=key, size=0)
    return ObjectInfo(key=key, size=status.st_size if stat.S_ISREG(status.st_mode) else 0, modified=status.st_mtime)


def _open_file(path: str, flags: int) -> int:
    """Open a plain file for reading; anything else is refused, and none can make the reader wait."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a plain file")


def _is_taken(target: Path) -> bool:
    """Whether there is an object at this moment. Raises KubeTunerError where something else stands there."""
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return False
    if stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and target.is_file()):
        return True
    raise KubeTunerError(f"{target}: stands where an object belongs and is no plain file; delete it and run again")


def _place(incoming: Path, target: Path, *, replace: bool, durable: bool) -> bool:
    for left in reversed(range(_TRIES)):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError):  # what stood in its place is gone when one looks what it was
            if left == 0:
                raise
            continue
        try:
            (os.replace if replace else os.link)(incoming, target)
            break
        except FileExistsError:
            return False
        except FileNotFoundError:  # somebody deleted the last object of the folder, and the folder with it
            if left == 0:
                raise
    if durable:
        with suppress(FileNotFoundError):  # the same, and the object with it
            _sync_folder(target.parent)
    return True


def _cure(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free space or choose another --store"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        places = [Path(error.filename), *Path(error.filename).parents]
        obstacle = next((place for place in places if os.path.lexists(place) and not place.is_dir()), places[0])
        return f"move {obstacle} away, which stands where a folder belongs, or choose another --store"
    return "give the right to write there or choose another --store"


def _write(path: Path, data: Content, *, durable: bool) -> None:
    with open(path, "wb") as file:
        if isinstance(data, Path):
            with open(data, "rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        else:
            for block in blocks(data):
                file.write(block)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_exactly(descriptor: int, start: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0:
        part = os.pread(descriptor, min(length, 1 << 30), start)
        if not part:
            break
        parts.append(part)
        start += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
