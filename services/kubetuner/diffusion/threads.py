"""Threads beside a computation, which must not slow it down.

OpenMP keeps a team of threads for each thread that computes in parallel. With two teams there are more threads than cores, and libgomp then
lets all of them sleep at every barrier: measured on two cores, training steps took twice as long. One busy thread beside a team is as bad
in its way: the team waits at each barrier for the one whose core it shares.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

import torch


def give_way(nice: int = 10) -> None:
    """Let this thread run when others leave a core to it, from now on; at most 19, where it gets a seventieth of what others get."""
    with suppress(AttributeError, OSError):  # only Linux knows priorities of threads, and some sandboxes forbid them
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def start_beside(work: Callable[[], None], name: str) -> threading.Thread:
    """Start `work` in a thread whose tensors are computed on one core."""
    ready = threading.Event()

    def run() -> None:
        torch.get_num_threads()  # a thread takes over the process's number when it is first asked for; not later, over ours
        torch.set_num_threads(1)
        ready.set()
        work()

    ambient = torch.get_num_threads()
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    ready.wait()
    torch.set_num_threads(ambient)  # what was set above is also what threads begin with that are started later
    return thread
