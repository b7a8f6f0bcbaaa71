"""`python -m kubetuner.train`: trains, as a pod of a run (one of several, by torchrun's variables) or as a standing server."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from kubetuner import log
from kubetuner.errors import InputError
from kubetuner.rpc.signals import Signals
from kubetuner.train import launch, settings


def main() -> int:
    """Start the ranks of this pod, or be one."""
    signals = Signals()
    if "LOCAL_RANK" not in os.environ:
        try:
            ranks = settings.read(os.environ, gpus=_gpus)
        except InputError as error:
            log.configure()
            log.get(__name__).error("settings wrong", error=str(error))
            return 2
        if ranks.per_node > 1:
            return launch.run(ranks, signals)
        if ranks.total > 1:
            os.environ.update(ranks.environment(0))
    from kubetuner.diffusion.malloc import keep_freed_memory
    from kubetuner.rpc import pod
    from kubetuner.train.server import KIND

    keep_freed_memory(os.environ.get("KUBETUNER_DEVICE", "auto"))
    follows = os.environ.get("RANK", "0") != "0"
    code = pod.main(replace(KIND, follows=follows, probed=os.environ.get("LOCAL_RANK", "0") == "0"), signals)
    if code != 0 and "RANK" in os.environ:  # torch would wait at its end for what a process that is gone has begun with this one
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 1


if __name__ == "__main__":
    sys.exit(main())
