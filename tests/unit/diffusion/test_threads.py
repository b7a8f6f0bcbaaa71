"""Threads beside the loop compute on one core and change nothing for others."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from kubetuner.diffusion.threads import give_way, start_beside


@pytest.fixture(autouse=True)
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_thread_beside_computes_on_one_core_and_others_as_before() -> None:
    seen: dict[str, int] = {}
    started = threading.Event()

    def note() -> None:
        started.wait()  # all that the start does is done
        torch.zeros(1_000_000).add(1)
        seen["beside"] = torch.get_num_threads()

    beside = start_beside(note, "beside")
    started.set()
    beside.join()
    later = threading.Thread(target=lambda: seen.update(later=torch.get_num_threads()))
    later.start()
    later.join()
    assert (seen["beside"], seen["later"], torch.get_num_threads()) == (1, 2, 2)


def test_a_thread_that_gives_way_lets_others_go_first() -> None:
    seen: list[int] = []

    def note() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        give_way()
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    start_beside(note, "beside").join()
    assert seen[1] > seen[0]
    assert os.getpriority(os.PRIO_PROCESS, 0) == seen[0]
