"""The wish that a process ends.

It is heard from a program's first line on: imports take seconds, and the first process of a container is not ended by a signal that it does
not handle.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

NUMBERS: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """SIGTERM and SIGINT, handled in the main thread."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        """Whether the process was asked to end. The main thread must not wait for it: a handler in the middle would wait for itself."""
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        for number in NUMBERS:
            signal.signal(number, self._handle)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)

    def wait(self) -> None:
        """Until the process is asked to end, or woken."""
        self._woken.get()

    def wake(self) -> None:
        """End the wait for another reason."""
        self._woken.put(None)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.stopped.set()
        self.wake()


@contextmanager
def held_back() -> Iterator[None]:
    """Signals wait meanwhile; for processes that are begun here, until they hear them by a Signals of their own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
