"""How long a client tries again what a server could not answer."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import grpc

from kubetuner.rpc.errors import Refused

AWAY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
"""Codes of a server that may answer later."""
_PAUSE: Final = (0.2, 10.0)


class Patience:
    """How long a server may be away: so long since the first try that failed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """It has answered."""
        self._since: float | None = None
        self._pause = _PAUSE[0]

    async def pause(self, error: Refused) -> None:
        """Wait before the next try. Raises the error where the server has been away for too long."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self._seconds:
            raise error
        await asyncio.sleep(max(self._pause, error.retry_seconds or 0.0))
        self._pause = min(self._pause * 2, _PAUSE[1])
