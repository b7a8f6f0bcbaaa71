"""One of several processes of a training that only sum numbers: `ranks.py SUMS HANG CANCEL`.

SUMS are made together; then process HANG stands still, if there is one, and the others wait for it, with `cancelled` set where CANCEL is 1.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import torch

from kubetuner.errors import Interrupted, KubeTunerError
from kubetuner.train.core import company


def main(sums: int, hang: int, cancel: bool) -> str:
    cancelled = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: cancelled.set())
    try:
        company.meet(torch.device("cpu"), cancelled, lambda text: print(text, flush=True))
        print("met", flush=True)
        value = torch.ones(1)
        for _ in range(sums):
            company.wait(torch.distributed.all_reduce(value, async_op=True), cancelled)
        print(f"sum {value.item():g}", flush=True)
        if hang == int(os.environ["RANK"]):
            time.sleep(600)
        if cancel:
            cancelled.set()
        company.wait(torch.distributed.all_reduce(value, async_op=True), cancelled, stop_seconds=0.5)
    except Interrupted as error:
        return f"interrupted: {error}"
    except KubeTunerError as error:
        return f"failed: {error}"
    return "done"


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1"), flush=True)
    os._exit(0)  # as a pod's process does
