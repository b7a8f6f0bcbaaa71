"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket

_BELOW_THOSE_GIVEN_OUT = range(15_000, 30_000)
_dice = random.SystemRandom()  # whatever a test has seeded


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens at just now, and that the kernel gives to no connection before its server is there."""
    while True:
        with socket.socket() as found:
            port = _dice.choice(_BELOW_THOSE_GIVEN_OUT)
            try:
                found.bind((host, port))
            except OSError:
                continue
            return port
