"""What a cluster's nodes share, as processes of the host: kube-proxy, which makes Service addresses work, and DNS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import urllib3

from tests.cluster import binaries, network
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import until
from tests.cluster.processes import Daemon

_SECONDS_TO_START: Final = 300
_PROXY_PORT: Final = 10256
_DNS_PORT: Final = 8181
_COREFILE: Final = """\
.:53 {{
    bind {address}
    errors
    health {address}:8180
    ready {address}:{port}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""


def up(folder: Path, plane: ControlPlane, *, node: str) -> None:
    """Start them where they do not run, once this node is there: kube-proxy waits for its own half a minute and no longer."""
    until(lambda: plane.kubectl.get("node", node), f"{node} told of by its kubelet")
    folder.mkdir(parents=True, exist_ok=True)
    plane.kubectl.apply(*_rights())
    settings = folder / "kube-proxy.json"
    proxy = Daemon(folder=folder, name="kube-proxy")
    if proxy.pid is None:  # it ends when its settings are written again
        settings.write_text(json.dumps(_proxy(plane)))
    proxy.start([binaries.path("kube-proxy"), f"--config={settings}", f"--hostname-override={node}"])
    corefile = folder / "Corefile"
    corefile.write_text(_COREFILE.format(address=network.HOST, port=_DNS_PORT, kubeconfig=plane.kubeconfig_of("system:coredns")))
    Daemon(folder=folder, name="coredns").start([binaries.path("coredns"), "-conf", corefile])


def wait(folder: Path) -> None:
    """Until both answer."""
    for name, port, path in (("kube-proxy", _PROXY_PORT, "livez"), ("coredns", _DNS_PORT, "ready")):
        Daemon(folder=folder, name=name).until(lambda address=f"http://{network.HOST}:{port}/{path}": _answers(address), _SECONDS_TO_START)


def _answers(address: str) -> bool:
    try:
        return urllib3.request("GET", address, retries=False, timeout=2.0).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def down(folder: Path) -> None:
    """End them."""
    for name in ("coredns", "kube-proxy"):
        Daemon(folder=folder, name=name).stop()


def _proxy(plane: ControlPlane) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(plane.kubeconfig_of("system:kube-proxy"))},
        "clusterCIDR": network.PODS,
        "bindAddress": network.HOST,
        "healthzBindAddress": f"{network.HOST}:{_PROXY_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0},
        "nftables": {"syncPeriod": "10s", "minSyncPeriod": "100ms"},
    }


def _rights() -> list[dict[str, Any]]:
    """What DNS may read; kube-proxy's rights come with the API server."""
    api = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods", "endpoints"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    name = {"name": "kubetuner-cluster-dns"}
    user = {"kind": "User", "name": "system:coredns", "apiGroup": api}
    return [
        {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": name, "rules": rules},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", **name},
            "subjects": [user],
        },
    ]
