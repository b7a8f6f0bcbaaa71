"""A store in this process's memory, for tests and dry runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from kubetuner.errors import ArtifactError
from kubetuner.storage.store import Content, ObjectInfo, check_key


class MemoryStore:
    """Objects in a dictionary."""

    uri = "memory:"

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._times: dict[str, float] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        check_key(key)
        content = data.read_bytes() if isinstance(data, Path) else bytes(data[:])
        with self._lock:
            if key in self._objects and not replace:
                return False
            self._objects[key] = content
            self._times[key] = time.time()
            return True

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        content = self._objects.get(key)  # once: another thread may delete it
        if content is None:
            raise ArtifactError(f"{key}: no such object in {self.uri}")
        end = len(content) if length is None else start + length
        if max(start, end) > len(content):
            raise ArtifactError(f"{key}: {len(content)} bytes long, {max(start, end)} were expected; delete it and run again")
        return content[start:end]

    def head(self, key: str) -> int | None:
        content = self._objects.get(key)
        return None if content is None else len(content)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            found = [
                ObjectInfo(key=key, size=len(content), modified=self._times[key])
                for key, content in self._objects.items()
                if key.startswith(prefix)
            ]
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(key, None)
