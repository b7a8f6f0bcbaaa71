"""Waiting for what comes soon, and on a busy machine later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

SECONDS: Final = 240.0
"""Only a hang takes so long."""


def until(wanted: Callable[[], bool]) -> None:
    """Until it is true."""
    end = time.monotonic() + SECONDS
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.02)


async def soon(wanted: Callable[[], bool]) -> None:
    """The same in an event loop."""
    async with asyncio.timeout(SECONDS):
        while not wanted():
            await asyncio.sleep(0.002)
