"""Ctrl-C and SIGTERM: the first asks the stages to stop with their state saved, a second Ctrl-C ends at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self


class Watch:
    """While it is entered, signals set `stopped`."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._signal = signal.SIGINT
        self._before: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 + the signal, as shells have it."""
        return 128 + self._signal

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.stopped.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)
        self.stopped.set()
