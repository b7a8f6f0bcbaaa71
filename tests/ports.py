"""Ports for servers that tests start."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST, _LAST = 11_000, 30_000  # above those of Kubernetes' own servers, below those of its Services
_FOLDER: Final = Path(tempfile.gettempdir()) / f"kubetuner-ports-{os.getuid()}"


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens at, and that is this process's own among all tests of the machine for as long as it lives.

    The kernel gives it to no connection, and to no listener that names none: a server may go away and come back at it.
    """
    own = range(_FIRST, min(_LAST, int(_RANGE.read_text().split()[0]))) if _RANGE.exists() else range(0)
    for port in [*random.Random().sample(own, len(own)), 0]:  # 0, whichever the kernel gives, where it keeps none back
        with suppress(OSError), socket.socket() as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host, port))
            number: int = found.getsockname()[1]
            _hold(number)
            return number
    raise AssertionError(f"no port is free at {host}")


def _hold(port: int) -> None:
    """Lock it until this process ends. Raises OSError where another has."""
    _FOLDER.mkdir(exist_ok=True)
    file = os.open(_FOLDER / str(port), os.O_WRONLY | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
