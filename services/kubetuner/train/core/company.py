"""The processes of one training: how they meet, and how one waits for the others without waiting for the dead.

torch's own waits cannot be ended from outside: a process whose peers are gone, or never come, would stand until it is killed. Here each
wait is looked at in between: asked to stop while the others are awaited, a process ends at once; where they do not answer any more, it
fails within a bounded time, and whoever made the pod begins another attempt from the newest state.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import torch
from torch import distributed

from kubetuner.errors import Interrupted, KubeTunerError

_MEET_SECONDS: Final = 1800.0
"""Their pods may be waiting for a node, or for the image."""
ANSWER: Final = timedelta(minutes=10)
"""One may be writing a large state over a slow line meanwhile."""
_STOP_SECONDS: Final = 60.0
"""The same once somebody asked to stop: half of a pod's usual time to end."""
_PAUSES: Final = (0.0002, 0.005)
_LOOK: Final = 0.2
_CONNECT: Final = timedelta(seconds=30)
_CURE: Final = "its own log says why, and another attempt goes on from the newest state"


def meet(device: torch.device, cancelled: threading.Event, note: Callable[[str], None]) -> None:
    """Join the other processes that torchrun's variables tell of; nothing where there are none, or all have met already.

    `note` is told that they are awaited. Raises Interrupted where this one is asked to stop before all are here, and KubeTunerError where
    they do not come.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world == 1 or distributed.is_initialized():
        return
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    serves = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    ends = time.monotonic() + _MEET_SECONDS
    note(f"waits for the other processes of the training: this is {rank + 1} of {world}")
    if not serves:
        _until(lambda: _listens(address, port), cancelled, ends, f"the first process of this training does not answer at {address}:{port}")
    try:
        store = distributed.TCPStore(address, port, world, is_master=serves, wait_for_workers=False, timeout=_CONNECT)
        store.set_timeout(timedelta(seconds=_MEET_SECONDS))
        ours = distributed.PrefixStore(f"kubetuner/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        ours.set(f"here/{rank}", "")
        everyone = [f"here/{one}" for one in range(world)]
        _until(lambda: bool(ours.check(everyone)), cancelled, ends, f"not all {world} processes of this training came")
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=ours, rank=rank, world_size=world, timeout=timedelta(seconds=_MEET_SECONDS))
    except RuntimeError as error:  # torch's own errors of stores and groups are of this kind
        raise KubeTunerError(f"the processes of this training could not meet ({str(error).splitlines()[0]}); {_CURE}") from error


def wait(work: Any, cancelled: threading.Event, *, stop_seconds: float = _STOP_SECONDS) -> None:
    """Wait for what all processes do together, and no longer than `stop_seconds` once `cancelled` is set.

    Raises KubeTunerError where one of them is gone, or does not answer.
    """
    begun, stopped, pause = time.monotonic(), None, _PAUSES[0]
    while not work.is_completed():
        now = time.monotonic()
        if stopped is None and cancelled.is_set():
            stopped = now
        if now - begun > ANSWER.total_seconds() or (stopped is not None and now - stopped > stop_seconds):
            raise KubeTunerError(f"the other processes of this training did not answer for {now - begun:.0f} s; {_CURE}")
        time.sleep(pause)
        pause = min(2 * pause, _PAUSES[1])
    try:
        work.wait()
    except RuntimeError as error:
        raise KubeTunerError(f"another process of this training is gone ({str(error).splitlines()[0]}); {_CURE}") from error


def _until(true: Callable[[], bool], cancelled: threading.Event, ends: float, problem: str) -> None:
    while not true():
        if time.monotonic() > ends:
            raise KubeTunerError(f"{problem} within {_MEET_SECONDS:.0f} s; see that its pod can start")
        if cancelled.is_set():
            raise Interrupted("asked to stop before all processes of the training were there; nothing was begun")
        time.sleep(_LOOK)  # not a wait for `cancelled`: a signal's handler that sets it in the middle of one would wait for itself


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1.0).close()
    except OSError:
        return False
    return True
