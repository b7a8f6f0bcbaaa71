"""The cluster: a control plane, two nodes, the network between them, and an object store beside them.

cluster = Cluster()
cluster.up()                      # what runs already stays as it is
cluster.kubectl("get", "nodes")
cluster.nodes[0].power_off()
cluster.down()                    # ends and removes everything but the images, also after a crash
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests import golang
from tests.cluster import binaries, machine, needs, network, policies, services
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.machine import Machine
from tests.cluster.node import Node
from tests.cluster.object_store import ObjectStore
from tests.cluster.process_cluster import ProcessCluster
from tests.cluster.processes import ClusterError, alone, folders, sweep

FOLDER: Final = Path(__file__).parents[2] / "build" / "cluster"
_NUMBERS: Final = (1, 2)
_SERVICES: Final = "services"
_PORT: Final = 6443  # what NetworkPolicies take an API server's for


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster that lives in a folder. One runs on a machine at a time: the bridge has but one name."""

    folder: Path = FOLDER
    gpus: int = field(default=2)
    """How many GPUs each node offers."""

    @property
    def plane(self) -> ControlPlane:
        return ControlPlane(folder=self.folder / "plane", address=network.HOST, port=_PORT, pod_security="restricted")

    @property
    def of_processes(self) -> ProcessCluster:
        """What is left of it on a machine that can run no containers."""
        return ProcessCluster(folder=self.folder / "processes", gpus=self.gpus)

    @property
    def nodes(self) -> list[Node]:
        images = Machine(folder=self.image_folder)
        return [
            Node(number=number, folder=self.folder / f"node{number}", plane=self.plane, images=images, gpus=self.gpus)
            for number in _NUMBERS
        ]

    @property
    def image_folder(self) -> Path:
        """Where images are made and kept, for every checkout of the user's; see tests/cluster/images.py."""
        return golang.cache_folder("cluster-images", [])

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(folder=self.folder / "minio", plane=self.plane)

    @property
    def kubectl(self) -> Kubectl:
        return self.plane.kubectl

    @property
    def kubeconfig(self) -> Path:
        return self.plane.kubeconfig

    def up(self) -> None:
        """Start what is not running, and wait until pods can run on both nodes."""
        if missing := [*needs.for_control_plane(), *needs.for_nodes()]:
            raise ClusterError("this machine cannot run nodes; missing:\n  " + "\n  ".join(missing))
        if unbuilt := binaries.missing():
            raise ClusterError(f"not built: {', '.join(unbuilt)}; run `python -m tests.cluster build`")
        with alone(self._lock):
            self._up()

    def _up(self) -> None:
        if others := self._others():
            where = ", ".join(map(str, sorted(others)))
            raise ClusterError(f"another cluster runs on this machine, of {where}; end it there by `python -m tests.cluster down`")
        self.folder.mkdir(parents=True, exist_ok=True)
        network.up(self.folder)
        self.plane.up()
        for node in self.nodes:
            node.up()
        services.up(self.folder / _SERVICES, self.plane, node=self.nodes[0].name)
        policies.up(self.folder / _SERVICES, self.plane)
        self.store.up()
        for node in self.nodes:
            node.wait()
            self.kubectl("uncordon", node.name)  # what a test did that was cut off
            self.kubectl.run("taint", "node", node.name, "node.kubernetes.io/out-of-service-", check=False)
        services.wait(self.folder / _SERVICES)

    def _others(self) -> set[Path]:
        """Folders of clusters of other checkouts that run on this machine."""
        return {place.parent for place in folders() if place.name == _SERVICES} - {self.folder}

    def down(self) -> None:
        """End and remove everything but the images, whatever state it is in."""
        with alone(self._lock):
            self._down()

    @property
    def _lock(self) -> Path:
        return self.folder.with_suffix(".lock")

    def _down(self) -> None:
        for node in self.nodes:
            node.down()
        self.store.down()
        policies.down(self.folder / _SERVICES)
        services.down(self.folder / _SERVICES)
        self.plane.down()
        self.of_processes.down()
        sweep(self.folder)
        for node in self.nodes if not self._others() else ():  # their names are the machine's
            node.remove_cgroups()
        if (self.folder / network.SAVED).exists():  # it had nodes
            network.down(self.folder)
            if not Machine(folder=self.image_folder).on:  # it would lose what it has mounted there
                machine.forget_mount_points()
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_up(self) -> bool:
        """Whether all of it runs."""
        parts = [*self.plane.parts, self.store.server]
        return all(part.pid for part in parts) and all(node.machine.pid("kubelet") for node in self.nodes)
