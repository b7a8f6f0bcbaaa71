"""A part of a store as a store of its own: everything below a prefix, under keys that begin there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kubetuner.storage.store import Content, ObjectInfo, ObjectStore, check_key


class Below:
    """What lies below a prefix of another store."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        """`prefix` without slashes at its ends. Raises ArtifactError where no key can begin so."""
        check_key(prefix)
        self.store = store
        self.prefix = f"{prefix}/"

    @property
    def uri(self) -> str:
        return f"{self.store.uri.rstrip('/')}/{self.prefix}".rstrip("/")

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        check_key(key)
        return self.store.put(self.prefix + key, data, replace=replace, durable=durable)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        check_key(key)
        return self.store.get(self.prefix + key, start, length)

    def head(self, key: str) -> int | None:
        check_key(key)
        return self.store.head(self.prefix + key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for info in self.store.list(self.prefix + prefix):
            yield replace(info, key=info.key.removeprefix(self.prefix))

    def delete(self, key: str) -> None:
        check_key(key)
        self.store.delete(self.prefix + key)
