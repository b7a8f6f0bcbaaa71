"""A real Kubernetes control plane: etcd, API server, controller manager and scheduler, as processes of an ordinary user.

    with ControlPlane(folder=tmp_path) as plane:          # a few seconds; needs no root, no containers
        plane.kubectl("get", "namespaces")                # or any client with plane.kubeconfig

It has no nodes: pods stay Pending unless kwok or real kubelets serve them.
"""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3

from tests.cluster import binaries, certificates, network
from tests.cluster.api import kubeconfig
from tests.cluster.kubectl import Kubectl, until
from tests.cluster.processes import ClusterError, Daemon, Lasting, sweep
from tests.ports import free_port

ISSUER: Final = "https://kubernetes.default.svc"
"""Who signs the tokens of ServiceAccounts."""
_FIRST_SERVICE: Final = "10.96.0.1"
_LOOPBACK: Final = "127.0.0.1"
_SECONDS_TO_START: Final = 300
_COLLECTING: Final = {"GOGC": "off", "GOMEMLIMIT": "1536MiB"}
"""The API server shares its cores with all else here: it collects garbage when it has grown to this, not at every doubling of little."""

# user -> groups; each has a token and a kubeconfig of its own
_USERS: Final[dict[str, str]] = {
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "system:kube-proxy": "system:node-proxier",
    "system:coredns": "",
    "system:node:node1": "system:nodes",
    "system:node:node2": "system:nodes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane(Lasting):
    """A control plane that lives in a folder: `up` and `down` may be called by different processes, and again."""

    folder: Path
    address: str = _LOOPBACK
    """Where the API server listens; a bridge's where there are nodes."""
    port: int = 0
    """Its port; 0 is a free one."""
    pod_security: str = "privileged"
    """PodSecurity level of namespaces that name none."""
    acting: bool = True
    """Whether controller manager and scheduler run; without them objects are checked and stored, and nothing comes of them."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.kubeconfig_of("admin")

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(kubeconfig=self.kubeconfig)

    @property
    def server(self) -> str:
        """Address of the API server."""
        return f"https://{self.address}:{self._ports()['apiserver']}"

    @property
    def ca(self) -> Path:
        """The certificate of the authority that signs the API server's."""
        return self.folder / "pki" / "ca.crt"

    @property
    def parts(self) -> Sequence[Daemon]:
        """The processes, in the order of their start."""
        acting = ("kube-controller-manager", "kube-scheduler") if self.acting else ()
        return [self.part(name) for name in ("etcd", "kube-apiserver", *acting)]

    @property
    def programs(self) -> tuple[str, ...]:
        """What must be built for it."""
        return (*(part.name for part in self.parts), *(["kubectl"] if self.acting else []))

    def part(self, name: str) -> Daemon:
        """One of the processes, to be killed or stopped; `up` starts what is not there."""
        return Daemon(folder=self.folder, name=name)

    def kubeconfig_of(self, user: str) -> Path:
        """A user's; see `_USERS`."""
        return self.folder / f"{user.rsplit(':', 1)[-1]}.kubeconfig"

    def up(self) -> None:
        """Start what is not running, and wait until objects and pods can be made."""
        if missing := binaries.missing(self.programs):
            raise ClusterError(f"not built: {', '.join(missing)}; run `python -m tests.cluster build {' '.join(missing)}`")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._certify()
        self._write_access()
        etcd = self.part("etcd")
        etcd.start(self._etcd())
        etcd.until(lambda: self._is_well(f"{self._store()}/health"), _SECONDS_TO_START)  # the API server waits for it, but not for long
        server = self.part("kube-apiserver")
        server.start(self._apiserver(), _COLLECTING)
        server.until(lambda: self._is_well(f"{self.server}/readyz"), _SECONDS_TO_START)
        if self.acting:
            manager = self.part("kube-controller-manager")
            manager.start(self._controller_manager())
            self.part("kube-scheduler").start([binaries.path("kube-scheduler"), *self._component("system:kube-scheduler")])
            until(self._has_defaults, f"the default ServiceAccount; see {manager.log}", _SECONDS_TO_START)

    def down(self) -> None:
        """End all of it; what it stored stays in the folder."""
        names = [part.name for part in self.parts]
        others = [Daemon(folder=self.folder, name=file.stem) for file in self.folder.glob("*.pid") if file.stem not in names]
        for part in [*others, *reversed(self.parts)]:  # clients first: the API server waits for their watches to end
            part.stop()
        sweep(self.folder)

    def _certify(self) -> None:
        pki = self.folder / "pki"
        pki.mkdir(exist_ok=True)
        certificates.authority(pki)
        names = [f"DNS:kubernetes{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
        addresses = [f"IP:{address}" for address in dict.fromkeys((self.address, _LOOPBACK, _FIRST_SERVICE))]
        certificates.certificate(pki, "apiserver", subject="/CN=kube-apiserver", names=[*names, *addresses])
        certificates.certificate(pki, "kubelet-client", subject="/O=system:masters/CN=apiserver", usage="clientAuth")
        certificates.token_keys(pki)

    def _write_access(self) -> None:
        tokens = self.folder / "tokens.csv"
        if tokens.exists():
            return
        rows = []
        cluster = {"server": self.server, "certificate-authority-data": b64encode(self.ca.read_bytes()).decode()}
        for user, group in _USERS.items():
            token = secrets.token_hex(16)
            rows.append(f'{token},{user},{user},"{group}"')
            self.kubeconfig_of(user).write_text(json.dumps(kubeconfig(cluster, token)))
            self.kubeconfig_of(user).chmod(0o600)
        tokens.write_text("\n".join(rows))

    def _ports(self) -> dict[str, int]:
        """Free ports, chosen once for the folder's life."""
        file = self.folder / "ports.json"
        if not file.exists():
            of_etcd = {name: free_port(_LOOPBACK) for name in ("etcd", "peers")}
            file.write_text(json.dumps({**of_etcd, "apiserver": self.port or free_port(self.address)}))
        ports: dict[str, int] = json.loads(file.read_text())
        return ports

    def _store(self) -> str:
        """Address of etcd."""
        return f"http://{_LOOPBACK}:{self._ports()['etcd']}"

    def _etcd(self) -> list[str | Path]:
        client, peers = self._store(), f"http://{_LOOPBACK}:{self._ports()['peers']}"
        return [
            *(binaries.path("etcd"), "--data-dir", self.folder / "etcd", "--unsafe-no-fsync", "--log-level=warn"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"),
        ]

    def _apiserver(self) -> list[str | Path]:
        pki, ports = self.folder / "pki", self._ports()
        admission = self.folder / "admission.json"
        admission.write_text(json.dumps(_admission(self.pod_security)))
        flags: dict[str, object] = {
            "etcd-servers": self._store(),
            "bind-address": self.address,
            "advertise-address": self.address,
            "secure-port": ports["apiserver"],
            # A loopback address may not stand in the Endpoints of `kubernetes`, which pods would use.
            "endpoint-reconciler-type": "none" if self.address == _LOOPBACK else "lease",
            "cert-dir": pki,
            "tls-cert-file": pki / "apiserver.crt",
            "tls-private-key-file": pki / "apiserver.key",
            "client-ca-file": self.ca,
            "kubelet-client-certificate": pki / "kubelet-client.crt",
            "kubelet-client-key": pki / "kubelet-client.key",
            "kubelet-preferred-address-types": "InternalIP",
            "service-cluster-ip-range": network.SERVICES,
            "service-account-issuer": ISSUER,
            "service-account-key-file": pki / "tokens.pub",
            "service-account-signing-key-file": pki / "tokens.key",
            "token-auth-file": self.folder / "tokens.csv",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "admission-control-config-file": admission,
            "allow-privileged": "true",
        }
        return [binaries.path("kube-apiserver"), *(f"--{name}={value}" for name, value in flags.items())]

    def _controller_manager(self) -> list[str | Path]:
        pki = self.folder / "pki"
        flags: dict[str, object] = {
            "controllers": "*,-nodeipam,-service-lb-controller,-node-route-controller",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": pki / "tokens.key",
            "root-ca-file": self.ca,
            "cluster-signing-cert-file": self.ca,
            "cluster-signing-key-file": pki / "ca.key",
            "node-monitor-period": "2s",
            "node-monitor-grace-period": "12s",  # of a kubelet that tells of itself every two; tests wait for it
        }
        user = "system:kube-controller-manager"
        return [binaries.path("kube-controller-manager"), *self._component(user), *(f"--{name}={value}" for name, value in flags.items())]

    def _component(self, user: str) -> list[str]:
        # The default rates, meant to spare a shared server, let through three Jobs a second.
        rates = ["--kube-api-qps=500", "--kube-api-burst=1000"]
        return [f"--kubeconfig={self.kubeconfig_of(user)}", "--leader-elect=false", "--secure-port=0", *rates]

    def _is_well(self, address: str) -> bool:
        try:
            with urllib3.PoolManager(ca_certs=str(self.ca)) as pool:
                return pool.request("GET", address, retries=False, timeout=2.0).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def _has_defaults(self) -> bool:
        found = self.kubectl.run("get", "serviceaccount/default", "configmap/kube-root-ca.crt", "--namespace=default", check=False)
        return found.returncode == 0


def _admission(level: str) -> dict[str, Any]:
    defaults = {f"{mode}{part}": value for mode in ("enforce", "audit", "warn") for part, value in (("", level), ("-version", "latest"))}
    configuration = {"apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration", "defaults": defaults}
    plugin = {"name": "PodSecurity", "configuration": configuration}
    return {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [plugin]}
