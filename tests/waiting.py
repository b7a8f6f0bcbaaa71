"""Waiting in an event loop for what comes soon, and on a busy machine later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

SECONDS: Final = 120.0
"""Only a hang takes so long."""


async def soon(wanted: Callable[[], bool]) -> None:
    """Until it is true."""
    async with asyncio.timeout(SECONDS):
        while not wanted():
            await asyncio.sleep(0.002)
