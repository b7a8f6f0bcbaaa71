"""Nodes that only pretend: kwok plays them and the life of their pods, so that thousands of Jobs fit on a small machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests.cluster import binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.processes import Daemon

_LABEL: Final = "kubetuner.dev/pretended"
_HERE: Final = Path(__file__).parent
_PODS: Final = "10000"


def up(plane: ControlPlane, *, nodes: int = 1, gpus: int = 10000, complete: bool = True) -> Daemon:
    """Add nodes to a control plane; their pods run at once, and those of Jobs succeed at once, unless `complete` is off.

    It ends with the control plane's `down`.
    """
    plane.kubectl.apply(*(_node(f"kwok-{number}", gpus) for number in range(nodes)))
    daemon = Daemon(folder=plane.folder, name="kwok")
    flags = [f"--kubeconfig={plane.kubeconfig}", f"--manage-nodes-with-label-selector={_LABEL}=true", "--node-lease-duration-seconds=40"]
    flags += [f"--config={_HERE / name}" for name in ("kwok_stages.yaml", *(["kwok_completion.yaml"] if complete else []))]
    daemon.start([binaries.path("kwok"), *flags])
    ready = ["wait", "--for=condition=Ready", "node", "--selector", f"{_LABEL}=true", "--timeout=1s"]
    daemon.until(lambda: plane.kubectl.run(*ready, check=False).returncode == 0, 300)
    return daemon


def _node(name: str, gpus: int) -> dict[str, Any]:
    room = {"cpu": "100000", "memory": "1000Ti", "pods": _PODS, "nvidia.com/gpu": str(gpus)}
    metadata = {"name": name, "labels": {_LABEL: "true", "kubernetes.io/hostname": name}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"allocatable": room, "capacity": room}}
