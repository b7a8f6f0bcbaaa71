"""A queue of keys, as controllers want it: a key is in it once, is worked on by one worker at a time, and comes back after its own pause.

A key that is added while it is worked on is worked on again afterwards, so no change is ever missed.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_FIRST: Final = 0.05
_LONGEST: Final = 60.0


@dataclass(slots=True)
class WorkQueue:
    """Keys to work on."""

    clock: Callable[[], float] = time.monotonic
    random: random.Random = field(default_factory=random.Random)
    adds: int = 0
    retries: int = 0
    on_wait: Callable[[float], None] = lambda seconds: None
    """Told how long each key waited for its worker."""
    _ready: deque[str] = field(default_factory=deque)
    _dirty: dict[str, float] = field(default_factory=dict)
    _working: set[str] = field(default_factory=set)
    _later: list[tuple[float, str]] = field(default_factory=list)
    _due: dict[str, float] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: str) -> None:
        """Work on the key soon."""
        if key in self._dirty:
            return
        self.adds += 1
        self._dirty[key] = self.clock()
        if key not in self._working:
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Work on the key after a pause; of two pauses the shorter counts."""
        if seconds <= 0:
            self.add(key)
            return
        at = self.clock() + seconds
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            heapq.heappush(self._later, (at, key))
            self._wake.set()

    def retry(self, key: str, at_least: float = 0.0) -> float:
        """Work on the key again after a pause that doubles each time; says how long."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.retries += 1
        pause = max(at_least, min(_LONGEST, _FIRST * 2 ** min(failures - 1, 30)) * self.random.uniform(0.5, 1.0))
        self.add_after(key, pause)
        return pause

    def forget(self, key: str) -> None:
        """The key is well again: the next pause is short."""
        self._failures.pop(key, None)

    def __len__(self) -> int:
        return len(self._ready)

    async def take(self) -> str:
        """The next key; it must be given back by `done`."""
        while True:
            pause = self._promote()
            if self._ready:
                key = self._ready.popleft()
                self.on_wait(self.clock() - self._dirty.pop(key))
                self._working.add(key)
                return key
            self._wake.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: str) -> None:
        """The worker is finished with the key."""
        self._working.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake.set()

    def _promote(self) -> float | None:
        """Move the keys that are due; seconds until the next is, None where there is none."""
        now = self.clock()
        while self._later:
            at, key = self._later[0]
            if self._due.get(key) != at:  # replaced by a shorter pause
                heapq.heappop(self._later)
                continue
            if at > now:
                return at - now
            heapq.heappop(self._later)
            del self._due[key]
            self.add(key)
        return None
