"""A stand-in for a network plugin's NetworkPolicy controller: reads policies, pods and namespaces twice a second, and writes nft rules.

    python -m tests.cluster.policies KUBECONFIG     what `cluster-up` runs beside kube-proxy

What runs on the host instead of in pods (DNS, MinIO) can be named by the labels that its pods would have.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.cluster import network
from tests.cluster.api import Api, ApiFault
from tests.cluster.control_plane import ControlPlane
from tests.cluster.policy_rules import TABLE, Pod, World, rules
from tests.cluster.processes import Daemon

_POLL_SECONDS: Final = 0.5
_PATHS: Final = ("/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/pods", "/api/v1/namespaces")
_ON_THE_HOST: Final = (
    Pod(namespace="kube-system", address=network.HOST, labels={"k8s-app": "kube-dns"}, ports={"dns": 53, "dns-tcp": 53}, only=53),
    Pod(namespace="minio", address=network.HOST, labels={"app": "minio", "app.kubernetes.io/name": "minio"}, ports={"s3": 9000}, only=9000),
)


def up(folder: Path, plane: ControlPlane) -> None:
    """Start it where it does not run."""
    root = Path(__file__).parents[2]
    command: list[str | Path] = [sys.executable, "-m", "tests.cluster.policies", plane.kubeconfig]
    Daemon(folder=folder, name="policies").start(command, {"PYTHONPATH": f"{root}:{root / 'services'}"})


def down(folder: Path) -> None:
    """End it; its rules go with the network."""
    Daemon(folder=folder, name="policies").stop()


def main() -> None:
    """Keep the rules in step with the cluster until the process is ended."""
    api = Api(Path(sys.argv[1]))
    written = ""
    while True:
        try:
            lists = [api.items(f"{path}?resourceVersion=0") for path in _PATHS]
        except ApiFault as fault:
            print(f"the API server does not answer: {fault}", flush=True)
        else:
            wanted = rules(_world(*lists))
            if wanted != written and _write(wanted):
                written = wanted
        time.sleep(_POLL_SECONDS)


def _world(policies: list[dict[str, Any]], pods: list[dict[str, Any]], namespaces: list[dict[str, Any]]) -> World:
    labels = {namespace["metadata"]["name"]: namespace["metadata"].get("labels", {}) for namespace in namespaces}
    live = [pod for pod in pods if pod["status"].get("podIP") and not pod["spec"].get("hostNetwork")]
    live = [pod for pod in live if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    return World(policies=policies, pods=[*map(_pod, live), *_ON_THE_HOST], namespaces=labels)


def _pod(pod: dict[str, Any]) -> Pod:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    return Pod(
        namespace=pod["metadata"]["namespace"],
        address=pod["status"]["podIP"],
        labels=pod["metadata"].get("labels", {}),
        ports={port["name"]: port["containerPort"] for port in ports if "name" in port},
    )


def in_force() -> frozenset[str]:
    """The addresses that the rules of this moment speak of."""
    done = subprocess.run(["nft", "list", "table", "inet", TABLE], capture_output=True, text=True, check=False)
    return frozenset(re.findall(r"[\d.]+", done.stdout))


def _write(script: str) -> bool:
    """Whether nft took it; where the kernel was busy with another's change it is written anew."""
    with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(["nft", "-f", file.name], capture_output=True, text=True, check=False)
    print(done.stderr or f"wrote {script.count(chr(10))} lines", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
