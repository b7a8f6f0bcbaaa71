"""Processes of one training on this machine: they meet, work together, lose each other, and none waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import free_port

Start = Callable[..., subprocess.Popen[str]]
SECONDS = 120.0


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process of two; all are gone at the end."""
    port, begun = free_port(), []

    def begin(rank: int, *, sums: int = 3, hang: int = -1, cancel: bool = False) -> subprocess.Popen[str]:
        environment = {
            **os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "KUBETUNER_LOG_LEVEL": "error",
        }  # fmt: skip
        command = [sys.executable, str(Path(__file__).with_name("ranks.py")), str(sums), str(hang), str(int(cancel))]
        begun.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], words: str) -> str:
    """The first line of a process with these words."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return line.strip()
    raise AssertionError(f"{words!r} was not said")


def test_they_meet_and_sum(start: Start) -> None:
    pair = [start(rank) for rank in range(2)]
    assert [until(one, "sum") for one in pair] == ["sum 8", "sum 8"]
    assert [until(one, "done") for one in pair] == ["done", "done"]


def test_who_loses_another_fails_at_once(start: Start) -> None:
    first, second = (start(rank, hang=1) for rank in range(2))
    until(second, "sum")
    second.kill()
    assert "failed: another process of this training is gone" in until(first, "failed")
    assert first.wait(SECONDS) == 0


def test_who_is_asked_to_stop_does_not_wait_for_one_that_does_not_answer(start: Start) -> None:
    first, _ = (start(rank, hang=1, cancel=True) for rank in range(2))
    assert "failed: the other processes of this training did not answer" in until(first, "failed")
    assert first.wait(SECONDS) == 0


@pytest.mark.parametrize("rank", [0, 1])
def test_who_waits_for_others_to_come_ends_when_it_is_asked_to(start: Start, rank: int) -> None:
    alone = start(rank)
    until(alone, "waits for the other processes")
    alone.send_signal(signal.SIGTERM)
    assert "interrupted: asked to stop before all processes" in until(alone, "interrupted")
