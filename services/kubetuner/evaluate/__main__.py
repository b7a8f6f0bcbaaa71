"""`python -m kubetuner.evaluate`: draws, scores and exports, as a pod of a run or as a standing server."""

from __future__ import annotations

import os
import sys

from kubetuner.rpc.signals import Signals

if __name__ == "__main__":
    signals = Signals()
    from kubetuner.diffusion.malloc import keep_freed_memory
    from kubetuner.evaluate.server import KIND
    from kubetuner.rpc.pod import main

    keep_freed_memory(os.environ.get("KUBETUNER_DEVICE", "auto"))
    sys.exit(main(KIND, signals))
