"""A store in a folder: one file an object, written beside its place, synced, then linked or renamed into it.

A link fails where the name is taken, which makes put-if-absent atomic between processes; a rename replaces. Either way a reader
sees a whole object or none, also after a power cut.
"""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kubetuner.errors import ArtifactError, DataError, KubeTunerError
from kubetuner.storage.store import ObjectInfo

_INCOMING: Final = ".incoming"


class DirectoryStore:
    """Objects as files below a root; symbolic links are followed for reading, each folder at most once."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @property
    def uri(self) -> str:
        return str(self.root)

    def put(self, key: str, data: bytes | Path, *, replace: bool = False) -> bool:
        target = self._path(key)
        if not replace and target.exists():
            return False
        incoming = self.root / _INCOMING / f"{uuid.uuid4().hex}"
        try:
            incoming.parent.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(incoming, data)
            if replace:
                os.replace(incoming, target)
            else:
                os.link(incoming, target)
            _sync_folder(target.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise KubeTunerError(
                f"{target}: cannot be written ({error.strerror}); free space or choose another --store and run again"
            ) from error
        finally:
            incoming.unlink(missing_ok=True)
        return True

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        path = self._path(key)
        try:
            with open(path, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                end = size if length is None else start + length
                if end > size:
                    raise ArtifactError(f"{path}: {size} bytes long, {end} were expected; delete it and run again")
                content = _read_exactly(file.fileno(), start, end - start)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ArtifactError(f"{path}: no such object") from error
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
        if len(content) != end - start:
            raise ArtifactError(f"{path}: became shorter while it was read; run again")
        return content

    def head(self, key: str) -> int | None:
        path = self._path(key)
        return path.stat().st_size if path.is_file() else None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        base = prefix.rpartition("/")[0]
        found = [info for info in self._walk(self._path(base) if base else self.root) if info.key.startswith(prefix)]
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, key: str) -> None:
        path = self._path(key)
        path.unlink(missing_ok=True)
        for parent in path.parents:  # an empty folder is no object: leave none behind
            if parent == self.root or not _remove_if_empty(parent):
                break

    def _path(self, key: str) -> Path:
        if key.startswith("/") or ".." in key.split("/"):
            raise ArtifactError(f"{key}: not a key of a store")
        return self.root / key

    def _walk(self, start: Path) -> Iterator[ObjectInfo]:
        seen: set[tuple[int, int]] = set()
        pending = [start]
        while pending:
            folder = pending.pop()
            try:
                identity = os.stat(folder)
                entries = list(os.scandir(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise DataError(f"{folder}: cannot be listed ({error.strerror}); give the right to read it, or move it away") from error
            if (identity.st_dev, identity.st_ino) in seen:  # a loop of symbolic links
                continue
            seen.add((identity.st_dev, identity.st_ino))
            for entry in entries:
                if folder == self.root and entry.name == _INCOMING:
                    continue
                try:
                    status = entry.stat()
                except OSError:  # a link to nowhere or to itself: it is listed, and whoever reads it is told
                    yield ObjectInfo(key=os.path.relpath(entry.path, self.root), size=0)
                    continue
                if stat.S_ISDIR(status.st_mode):
                    pending.append(Path(entry.path))
                elif stat.S_ISREG(status.st_mode):
                    yield ObjectInfo(key=os.path.relpath(entry.path, self.root), size=status.st_size)


def _write_synced(path: Path, data: bytes | Path) -> None:
    with open(path, "wb") as file:
        if isinstance(data, Path):
            with open(data, "rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        else:
            file.write(data)
        file.flush()
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
