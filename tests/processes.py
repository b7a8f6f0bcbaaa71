"""Processes as Linux tells of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def children(number: int) -> dict[int, str]:
    """Processes that a process has begun, from whichever of its threads, and that have not ended: their command lines by number."""
    begun: set[str] = set()
    for task in (_PROC / str(number) / "task").iterdir():
        with suppress(OSError):  # a thread that has ended
            begun.update((task / "children").read_text().split())
    return {int(child): command for child in begun if (command := _command(child)) is not None}


def status(number: int) -> dict[str, str]:
    """What stands in a process's status file. Raises OSError where it is gone."""
    lines = (_PROC / str(number) / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def has_ended(number: int) -> bool:
    """Whether a process only waits to be waited for. Raises OSError where it is gone."""
    return status(number)["State"][0] == "Z"


def heeds(number: int, signal: int) -> bool:
    """Whether a process has an answer of its own to a signal. Raises OSError where it is gone."""
    return bool(int(status(number)["SigCgt"], 16) >> (signal - 1) & 1)


def _command(number: str) -> str | None:
    """None where it has ended, be it waited for or not."""
    with suppress(OSError):
        state = (_PROC / number / "stat").read_text().rpartition(")")[2].split()[0]
        command = (_PROC / number / "cmdline").read_text().replace("\0", " ")
        return None if state in ("Z", "X") else command
    return None
