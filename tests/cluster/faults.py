"""What can befall a container: a signal to its processes, sent from the host, as the kernel would."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.cluster.kubectl import Kubectl, until
from tests.cluster.processes import ClusterError
from tests.processes import heeds, status


def strike(kubectl: Kubectl, namespace: str, pod: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to the first process of a pod's first container, once it lives and the signal is one that it heeds."""

    def look() -> int | None:
        found = kubectl.get("pod", pod, namespace)
        if found is None or found["status"]["phase"] in ("Succeeded", "Failed"):
            raise ClusterError(f"the pod {namespace}/{pod} has ended already")
        statuses = found["status"].get("containerStatuses") or [{}]
        container = statuses[0].get("containerID", "").rsplit("/", 1)[-1]  # one that has ended until its successor is told of
        return next((pid for pid in _processes(container) if _heeds(pid, number)), None) if container else None

    os.kill(until(look, f"a process of {namespace}/{pod} that takes signal {number}"), number)


def _processes(container: str) -> Iterator[int]:
    """The host's numbers of a container's processes."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # gone
            if entry.name.isdigit() and container in (entry / "cgroup").read_text():
                yield int(entry.name)


def _heeds(pid: int, number: int) -> bool:
    """Whether it is the first of its container, which the kernel spares all but SIGKILL until it handles them."""
    with suppress(OSError):  # gone
        return status(pid)["NSpid"].split()[-1] == "1" and (number == signal.SIGKILL or heeds(pid, number))
    return False
