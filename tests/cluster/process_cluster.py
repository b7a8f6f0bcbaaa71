"""A cluster without containers, for a machine or a user that can run none: a real control plane, and one node whose pods are processes.

    with ProcessCluster(folder=tmp_path) as cluster:      # some seconds; needs no root
        Release(cluster=cluster).install()                # our chart by helm, a run by kubectl: as on any other

API server, Job controller, scheduler, admission, rights and tokens are Kubernetes' own, MinIO is real; what a pod is not is said in
process_pods.py and process_node.py.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import process_node
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.object_store import ObjectStore
from tests.cluster.processes import Daemon, Lasting, sweep

_LOOPBACK: Final = "127.0.0.1"
_ROOT: Final = Path(__file__).parents[2]
_SECONDS_TO_START: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCluster(Lasting):
    """A cluster that lives in a folder; `up` and `down` may be called by different processes, and again."""

    folder: Path
    gpus: int = 2

    @property
    def plane(self) -> ControlPlane:
        return ControlPlane(folder=self.folder / "plane", pod_security="restricted")

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(folder=self.folder / "minio", plane=self.plane, host=_LOOPBACK)

    @property
    def node(self) -> Daemon:
        """The process that plays the node."""
        return Daemon(folder=self.folder / "node", name="node")

    @property
    def kubectl(self) -> Kubectl:
        return self.plane.kubectl

    @property
    def kubeconfig(self) -> Path:
        return self.plane.kubeconfig

    @property
    def logs(self) -> Path:
        """Folder of the pods' logs."""
        return self.folder / "node" / "logs"

    @property
    def parts(self) -> Sequence[Daemon]:
        """The processes, in the order of their start."""
        return [*self.plane.parts, self.store.server, self.node]

    @property
    def programs(self) -> tuple[str, ...]:
        """What must be built for it."""
        return (*self.plane.programs, "helm", "minio")

    def is_up(self) -> bool:
        """Whether all of it runs."""
        return all(part.pid for part in self.parts)

    def up(self) -> None:
        """Start what is not running, and wait until pods can run."""
        self.plane.up()
        self.store.up()
        folder = self.folder / "node"
        command: list[str | Path] = [sys.executable, "-m", "tests.cluster.process_node", self.kubeconfig, folder, str(self.gpus)]
        self.node.start(command, {"PYTHONPATH": f"{_ROOT}:{_ROOT / 'services'}"})
        ready = ["wait", "--for=condition=Ready", f"node/{process_node.NAME}", "--timeout=1s"]
        self.node.until(lambda: self.kubectl.run(*ready, check=False).returncode == 0, _SECONDS_TO_START)

    def down(self) -> None:
        """End all of it; what it stored stays in the folder."""
        self.node.stop()
        sweep(self.node.folder)  # its pods, where it could not itself
        shutil.rmtree((self.folder / "node" / process_node.PODS).resolve(), ignore_errors=True)  # where it could not itself
        self.store.down()
        self.plane.down()
        sweep(self.folder)
