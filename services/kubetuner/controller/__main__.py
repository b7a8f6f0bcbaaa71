"""`python -m kubetuner.controller`: settings from the environment (settings.py), until SIGTERM.

Exit codes: 0 asked to end, 1 the lease was lost or a part failed (the next pod goes on), 2 the settings are wrong.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from kubetuner import log
from kubetuner.controller import settings as settings_
from kubetuner.controller.program import Program
from kubetuner.errors import InputError


def main() -> int:
    """Run the controller; returns its exit code."""
    try:
        settings = settings_.read(os.environ)
    except InputError as error:
        log.configure()
        log.get(__name__).error("settings are wrong", error=str(error))
        return 2
    log.configure(settings.log_level)
    try:
        return asyncio.run(_run(Program(settings, os.environ)))
    except InputError as error:
        log.get(__name__).error("settings are wrong", error=str(error))
        return 2


async def _run(program: Program) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await program.run(stop)


if __name__ == "__main__":
    sys.exit(main())
