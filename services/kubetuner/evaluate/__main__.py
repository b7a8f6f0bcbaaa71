"""`python -m kubetuner.evaluate`: draws, scores and exports, as a pod of a run or as a standing server."""

from __future__ import annotations

import sys

from kubetuner.evaluate.server import KIND
from kubetuner.rpc.pod import main

if __name__ == "__main__":
    sys.exit(main(KIND))
