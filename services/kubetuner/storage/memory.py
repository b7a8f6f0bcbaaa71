"""A store in this process's memory, for tests and dry runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from kubetuner.errors import ArtifactError
from kubetuner.storage.store import ObjectInfo


class MemoryStore:
    """Objects in a dictionary."""

    uri = "memory:"

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes | Path, *, replace: bool = False) -> bool:
        content = data.read_bytes() if isinstance(data, Path) else bytes(data)
        with self._lock:
            if key in self._objects and not replace:
                return False
            self._objects[key] = content
            return True

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if key not in self._objects:
            raise ArtifactError(f"{key}: no such object in {self.uri}")
        content = self._objects[key]
        end = len(content) if length is None else start + length
        if end > len(content):
            raise ArtifactError(f"{key}: {len(content)} bytes long, {end} were expected; delete it and run again")
        return content[start:end]

    def head(self, key: str) -> int | None:
        content = self._objects.get(key)
        return None if content is None else len(content)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for key in sorted(self._objects):
            if key.startswith(prefix):
                yield ObjectInfo(key=key, size=len(self._objects[key]))

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(key, None)
