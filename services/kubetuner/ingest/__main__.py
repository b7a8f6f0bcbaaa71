"""`python -m kubetuner.ingest`: counts the pictures and brings the base model, as a pod of a run or as a standing server."""

from __future__ import annotations

import sys

if __name__ == "__main__":  # the processes that decode beside this one import it too, and need none of this
    from kubetuner.rpc.signals import Signals

    signals = Signals()
    from kubetuner.ingest.server import KIND
    from kubetuner.rpc.pod import main

    sys.exit(main(KIND, signals))
