"""The network of the cluster on the host: one bridge that pods, kubelets, the API server and DNS share; pods have no way out of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.cluster.processes import ClusterError

BRIDGE: Final = "kubetuner0"
HOST: Final = "10.244.0.1"
"""The host's address on the bridge: API server, kubelets, DNS and a host's MinIO listen on it."""
PODS: Final = "10.244.0.0/24"
SERVICES: Final = "10.96.0.0/16"
SAVED: Final = "sysctls.json"
_MAC: Final = "02:6b:74:00:00:01"  # one that does not change with the bridge's ports
# What kubelets, kube-proxy and we change; put back at the end.
_SYSCTLS: Final = ("net/ipv4/ip_forward", "kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom")
_TABLES: Final = (("ip", "kube-proxy"), ("ip6", "kube-proxy"), ("inet", "kubetuner-policies"))


def is_up() -> bool:
    """Whether this machine has a cluster, of whichever checkout."""
    return Path("/sys/class/net", BRIDGE).exists()


def up(folder: Path) -> None:
    """Make the bridge, or what of it is not there; remember the settings that will change."""
    saved = folder / SAVED
    if not saved.exists():
        saved.write_text(json.dumps({name: _sysctl(name).read_text() for name in _SYSCTLS}))
    if not is_up():
        _do("ip", "link", "add", BRIDGE, "address", _MAC, "type", "bridge")
    _do("ip", "address", "replace", f"{HOST}/24", "dev", BRIDGE)
    _do("ip", "link", "set", BRIDGE, "up")
    _do("ip", "route", "replace", SERVICES, "dev", BRIDGE, "src", HOST)  # kube-proxy's rules turn them into pods' addresses
    _sysctl("net/ipv4/ip_forward").write_text("1")


def down(folder: Path) -> None:
    """Take away the bridge and all rules, and put the settings back."""
    for family, table in _TABLES:
        subprocess.run(["nft", "delete", "table", family, table], check=False, capture_output=True)
    if is_up():
        _do("ip", "link", "delete", BRIDGE)
    saved = folder / SAVED
    if saved.exists():
        for name, value in json.loads(saved.read_text()).items():
            _sysctl(name).write_text(value)
        saved.unlink()


def cni(node: int) -> dict[str, Any]:
    """The CNI configuration of a node: a share of the subnet's addresses each."""
    first, last = {1: (16, 127), 2: (128, 254)}[node]
    part = PODS.rsplit(".", 1)[0]
    ranges = [[{"subnet": PODS, "rangeStart": f"{part}.{first}", "rangeEnd": f"{part}.{last}", "gateway": HOST}]]
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": False, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    return {"cniVersion": "1.0.0", "name": "kubetuner", "plugins": [bridge]}


def _sysctl(name: str) -> Path:
    return Path("/proc/sys", name)


def _do(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
