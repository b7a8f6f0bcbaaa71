"""Processes that outlive their starter, without a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cluster.kubectl import until
from tests.cluster.processes import Daemon, lives, sweep


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    yield Daemon(folder=tmp_path, name="sleeps")
    sweep(tmp_path)


def test_process_holds_nothing_of_its_starters_open(daemon: Daemon, tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_WRONLY | os.O_CREAT)
    os.set_inheritable(lock, True)
    try:
        daemon.start(["sleep", "60"])
    finally:
        os.close(lock)
    until(lambda: _opened(daemon) == {os.devnull, str(daemon.log)}, "what it opened for its start closed again")


def test_process_is_found_again_and_started_once(daemon: Daemon) -> None:
    daemon.start(["sleep", "60"])
    again = Daemon(folder=daemon.folder, name=daemon.name)
    again.start(["sleep", "60"])
    assert again.pid == daemon.pid is not None


def test_stopped_process_is_gone(daemon: Daemon) -> None:
    daemon.start(["sleep", "60"])
    daemon.stop()
    assert daemon.pid is None


def test_sweep_finds_what_was_never_written_down(daemon: Daemon, tmp_path: Path) -> None:
    daemon.start(["sleep", "60"])
    number = daemon.pid
    (tmp_path / "sleeps.pid").unlink()
    assert sweep(tmp_path) == 1
    assert number is not None
    assert not lives(number)


def test_paused_process_stands_still_until_it_is_resumed(daemon: Daemon) -> None:
    daemon.start(["sh", "-c", "while :; do echo; sleep 0.01; done"])
    until(lambda: daemon.log.exists() and daemon.log.stat().st_size, "its first word")
    daemon.pause()
    said = daemon.log.stat().st_size
    time.sleep(0.1)
    assert daemon.log.stat().st_size == said
    daemon.resume()
    until(lambda: daemon.log.stat().st_size > said, "another word")
    daemon.stop()


def _opened(daemon: Daemon) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{daemon.pid}/fd").iterdir():
        with suppress(OSError):  # closed just now
            found.add(os.readlink(entry))
    return found
