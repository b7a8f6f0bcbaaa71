"""The one face of all object stores, and the choice of one by its address.

Keys are slash-separated relative paths. An object is written whole or not at all, and one that exists is replaced only by an
explicit `put(..., replace=True)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from kubetuner.errors import ArtifactError, SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a listing tells of an object."""

    key: str
    """Key below the store's root."""
    size: int
    """Bytes."""
    modified: float = 0.0
    """When it was written, in seconds since 1970 by the store's own clock; 0 where the store does not tell."""


_BLOCK: Final = 1024 * 1024


class Bytes(Protocol):
    """`bytes`, a `memoryview`, or what gives their parts as they do. Nobody changes them while they are written."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...


Content = Bytes | Path
"""What an object is written from: bytes in memory or a file."""


def blocks(data: Bytes) -> Iterator[bytes | memoryview]:
    """All of it in order, in parts that are small enough to be worked on in passing."""
    return (data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK))


class ObjectStore(Protocol):
    """Five verbs; every store passes the same contract tests."""

    @property
    def uri(self) -> str:
        """Address of the store: for messages, and for another process to open it by."""

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        """Write an object whole, from memory or from a file; False where it is there already and `replace` is not asked for.

        A `durable` one is there after a power cut, too; others are as good for as long as the machine lives, and cost no waiting for disks.
        """

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read an object, or `length` bytes of it from `start`. Raises ArtifactError where it is missing or shorter."""

    def head(self, key: str) -> int | None:
        """Size of an object in bytes, or None where there is none."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key starts with `prefix`, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""


def check_key(key: str) -> None:
    """Raises ArtifactError where no store can keep an object under this key."""
    if "\0" in key or {"", ".", ".."} & set(key.split("/")):
        raise ArtifactError(f"{key!r}: not a key of a store; a key has no empty parts, no `.` and no `..`")


def begins_keys(prefix: str) -> bool:
    """Whether any key can begin so; what comes after its last slash may go on."""
    folder, slash, _ = prefix.rpartition("/")
    return "\0" not in prefix and not (slash and {"", ".", ".."} & set(folder.split("/")))


def silent(message: str) -> None:
    """Whom nobody hears."""


def open_store(
    uri: str, *, path: str = "--store", base: Path | None = None, create: bool = True, note: Callable[[str], None] = silent
) -> ObjectStore:
    """The store at an address: `memory:`, `s3://bucket/prefix`, or a folder (relative ones start at `base`).

    `path` names the field or option in errors. With `create=False` a folder that is not there is an error. `note` is told when a server
    is away and when it is back.
    """
    if not uri or "\0" in uri:
        raise SpecError(path, f"{uri!r} is no address; give a folder or s3://bucket/prefix")
    scheme = urlsplit(uri).scheme
    if scheme == "memory":
        from kubetuner.storage.memory import MemoryStore

        return MemoryStore()
    if scheme == "s3":
        from kubetuner.storage.minio import MinioStore

        return MinioStore.from_uri(uri, path=path, note=note)
    if scheme not in ("", "file"):
        raise SpecError(path, f"{uri!r} has the scheme {scheme!r}; give a folder or s3://bucket/prefix")
    from kubetuner.storage.directory import DirectoryStore

    root = Path(uri.removeprefix("file://")).expanduser()
    root = root if root.is_absolute() or base is None else base / root
    if not create and not root.is_dir():
        raise SpecError(path, f"{uri!r} is not a folder ({root} does not exist or is a file); give one that is there")
    return DirectoryStore(root)
