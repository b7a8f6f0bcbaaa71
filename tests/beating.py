"""Claims that never seem dead by their beat, however long a busy machine lets their owners stand: only the end of its process frees one."""

from __future__ import annotations

import itertools
import json

from kubetuner.storage.memory import MemoryStore

_looks = itertools.count()


def beating(key: str, content: bytes) -> bytes:
    """What a look at an object of the store shows: of a claim another beat each time."""
    return json.dumps(json.loads(content) | {"beat": next(_looks)}).encode() if key.startswith("claims/") else content


class BeatingStore(MemoryStore):
    """A store of such claims."""

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return beating(key, super().get(key, start, length))
