"""A node: a machine with containerd, a kubelet and devices that play GPUs."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.cluster import binaries, network
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import until
from tests.cluster.machine import Machine
from tests.cluster.processes import ClusterError, Daemon
from tests.cluster.runtime import SOCKET, Runtime, copy_images, images_held

_CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One of the cluster's two nodes."""

    number: int
    folder: Path
    plane: ControlPlane
    images: Machine
    """One that is off, whose images the node has from its first start on."""
    gpus: int = 2

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def machine(self) -> Machine:
        return Machine(folder=self.folder)

    @property
    def runtime(self) -> Runtime:
        return Runtime(machine=self.machine, number=self.number)

    def up(self) -> None:
        """Start what is not running; `wait` says when pods can come."""
        self._make_cgroups()
        with images_held(self.images.folder):
            copy_images(self.images, self.machine)
        self.machine.boot()
        self.runtime.up()
        self.start_kubelet()
        plugins = "/var/lib/kubelet/device-plugins"
        self.ill()
        ill = self._unhealthy
        self.machine.start("fakegpu", [binaries.path("fakegpu"), "-plugins", plugins, "-devices", str(self.gpus), "-unhealthy", ill])

    def wait(self) -> None:
        """Until its kubelet, as it was last started, says that it is Ready and offers its GPUs."""
        kubelet = Daemon(folder=self.folder, name="kubelet")

        def look() -> bool:
            if kubelet.pid is None:
                raise ClusterError(f"the kubelet of {self.name} ended; the end of {kubelet.log}:\n{kubelet.tail()}")
            return self._is_ready(kubelet.began)

        until(look, f"{self.name} Ready with its GPUs; see {self.folder}/*.log")

    def down(self) -> None:
        """Switch it off, for good."""
        self.machine.power_off()

    def remove_cgroups(self) -> None:
        """End what still runs in it, whoever started it, and remove what it made outside its folder."""
        until(self._removed, f"the end of what runs in {self._cgroup}")

    def _removed(self) -> bool:
        groups = [Path(group) for root in self._cgroups() for group, _, _ in os.walk(root, topdown=False)]
        for group in groups:
            try:
                group.rmdir()
            except OSError:  # something lives in it, or below it
                with suppress(OSError):
                    for pid in (group / "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
        return not any(group.exists() for group in groups)

    def power_off(self) -> None:
        """Cut the power."""
        self.machine.power_off()

    def start_kubelet(self) -> None:
        """Start the kubelet, unless it runs."""
        settings = self.folder / "kubelet.json"
        settings.write_text(json.dumps(self._kubelet()))
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")  # only for what may not ask the cluster's own DNS
        access = f"--kubeconfig={self.plane.kubeconfig_of(f'system:node:{self.name}')}"
        identity = [f"--hostname-override={self.name}", f"--node-ip={network.HOST}"]
        self.machine.start("kubelet", [binaries.path("kubelet"), f"--config={settings}", access, *identity])

    def restart_kubelet(self) -> None:
        """End the kubelet as a fault would, and start it again; its pods are not asked."""
        self.machine.end("kubelet")
        self.start_kubelet()

    def ill(self, *devices: int) -> None:
        """Which of its GPUs are not well, from now on."""
        self._unhealthy.write_text("\n".join(f"GPU-fake-{device}" for device in devices))

    @property
    def _unhealthy(self) -> Path:
        return self.folder / "unhealthy-gpus"

    def _is_ready(self, since: float) -> bool:
        status = (self.plane.kubectl.get("node", self.name) or {}).get("status", {})
        ready = next((one for one in status.get("conditions", []) if one["type"] == "Ready"), None)
        if ready is None or not ready["lastHeartbeatTime"]:
            return False
        if datetime.fromisoformat(ready["lastHeartbeatTime"]).timestamp() <= since:  # an earlier kubelet said it
            return False
        return ready["status"] == "True" and status.get("allocatable", {}).get("nvidia.com/gpu") == str(self.gpus)

    def _kubelet(self) -> dict[str, Any]:
        step = 10 * (self.number - 1)
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.HOST,
            "port": 10250 + step,
            "healthzPort": 10248 + step,
            "readOnlyPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.plane.ca)},
            },
            "authorization": {"mode": "Webhook"},
            "clusterDNS": [network.HOST],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self.folder / "resolv.conf"),
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": ["pods"],
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "imageGCHighThresholdPercent": 100,  # the host's disk is full of other things
            "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "10s",
            "nodeLeaseDurationSeconds": 10,
            "syncFrequency": "5s",
            "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},  # of containers that tests end one time after another
            "maxPods": 60,
        }

    @property
    def _cgroup(self) -> str:
        return f"kubetuner-{self.name}"

    def _cgroups(self) -> list[Path]:
        """The node's control group in each hierarchy: one with version 2, several with version 1."""
        if (_CGROUPS / "cgroup.controllers").exists():
            roots = [_CGROUPS]
        else:
            roots = [place for place in _CGROUPS.iterdir() if place.is_dir() and not place.is_symlink()]
        return [root / self._cgroup for root in roots if (root / self._cgroup).exists() or (root / "cgroup.procs").exists()]

    def _make_cgroups(self) -> None:
        for group in self._cgroups():
            group.mkdir(exist_ok=True)
            for name in ("cpuset.mems", "cpuset.cpus"):  # version 1 starts a group without any
                if (group / name).exists() and (group.parent / name).exists() and not (group / name).read_text().strip():
                    (group / name).write_text((group.parent / name).read_text())
