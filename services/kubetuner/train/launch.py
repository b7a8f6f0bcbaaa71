"""Several processes of one training in a pod: started together, stopped together.

No rendezvous and no restart of single ranks: a training whose rank is lost goes on from its newest state as a whole, which is for whoever
made the pod to begin.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

from kubetuner.rpc.signals import NUMBERS, Signals, held_back
from kubetuner.train.settings import Ranks

_PAUSE_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 20.0


def run(ranks: Ranks, signals: Signals, command: Sequence[str] = (sys.executable, "-m", "kubetuner.train")) -> int:
    """Run a process for each rank of this pod; returns the exit code of the first of them, or of the first that failed.

    `signals` have been heard until now; from here on they are for the ranks.
    """
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    with held_back():  # each rank's too, until it hears them
        children += [subprocess.Popen(command, env={**os.environ, **ranks.environment(local)}) for local in range(ranks.per_node)]
        for number in NUMBERS:
            signal.signal(number, forward)
    if signals.stopped.is_set():
        forward(signal.SIGTERM, None)
    codes = _wait(children)
    failed = [code for code in codes if code not in (0, 143)]
    return codes[0] if codes[0] != 0 or not failed else max(1, failed[0])


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Until all have ended; once one has failed, the others get a while to notice and are then killed."""
    deadline: float | None = None
    while any(child.poll() is None for child in children):
        if deadline is None and any(child.poll() not in (None, 0) for child in children):
            deadline = time.monotonic() + _GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            for child in children:
                child.kill()
        time.sleep(_PAUSE_SECONDS)
    return [child.wait() for child in children]
