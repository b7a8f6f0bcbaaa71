"""A store that may be looked at and not be changed: what is written to it stays in memory, over what lies there."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import groupby

from kubetuner.storage.memory import MemoryStore
from kubetuner.storage.store import Content, ObjectInfo, ObjectStore


class DryStore:
    """Writes into memory, reads from there first. What is deleted there stays in the store below."""

    def __init__(self, below: ObjectStore) -> None:
        self.below = below
        self._written = MemoryStore()

    @property
    def uri(self) -> str:
        return self.below.uri

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        if not replace and self.below.head(key) is not None:
            return False
        return self._written.put(key, data, replace=replace, durable=durable)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return (self.below if self._written.head(key) is None else self._written).get(key, start, length)

    def head(self, key: str) -> int | None:
        size = self._written.head(key)
        return self.below.head(key) if size is None else size

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        both = merge(self._written.list(prefix), self.below.list(prefix), key=lambda info: info.key)
        for _, infos in groupby(both, key=lambda info: info.key):
            yield next(infos)  # the merge is stable: what was written comes first

    def delete(self, key: str) -> None:
        self._written.delete(key)
