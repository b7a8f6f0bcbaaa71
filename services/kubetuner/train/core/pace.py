"""Work beside the training that takes little of the cores: it rests after each piece, for as long as nobody waits for it.

The lowest priority alone is not enough: on two cores a step's threads wait for each other at every barrier, and so for whatever runs on
the core of one of them.
"""

from __future__ import annotations

import threading
import time
from typing import Final

FOR_A_STEP_ON_THE_CPU: Final = 16.0
"""Rest for each second of work where the training itself needs all cores."""


class Pace:
    """When the pieces of one work are done; threads may share it."""

    def __init__(self, rest: float) -> None:
        """`rest` in seconds for each second that a thread has worked."""
        self._rest = rest
        self._hurry = threading.Event()
        self._worked = threading.local()

    def hurry(self) -> None:
        """No more rests: somebody waits."""
        self._hurry.set()

    def rest(self) -> None:
        """Between two pieces of work."""
        now = time.thread_time()
        self._hurry.wait((now - getattr(self._worked, "until", now)) * self._rest)
        self._worked.until = time.thread_time()


class Paced:
    """Bytes in memory whose reader rests before each part that it takes."""

    def __init__(self, data: memoryview, pace: Pace) -> None:
        self._data, self._pace = data, pace

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, part: slice) -> memoryview:
        self._pace.rest()
        return self._data[part]
