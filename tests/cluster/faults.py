"""What can befall a container: a signal to its processes, sent from the host, as the kernel would."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import ClusterError


def strike(kubectl: Kubectl, namespace: str, pod: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to the first process of a pod's container."""
    found = kubectl.get("pod", pod, namespace)
    if found is None:
        raise ClusterError(f"there is no pod {namespace}/{pod}")
    container = found["status"]["containerStatuses"][0]["containerID"].rsplit("/", 1)[-1]
    pids = sorted(_processes(container))
    if not pids:
        raise ClusterError(f"no process of {namespace}/{pod} lives")
    os.kill(pids[0], number)


def _processes(container: str) -> Iterator[int]:
    """The host's numbers of a container's processes."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and container in (entry / "cgroup").read_text():
                yield int(entry.name)
        except OSError:  # gone
            continue
