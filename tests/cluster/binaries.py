"""The cluster's programs, built from the pinned modules of go.mod and from cmd/, and cached outside the checkout.

python -m tests.cluster build            what a cluster needs, in the order in which it is needed (a quarter of an hour on two cores)
python -m tests.cluster build kubectl    some of them
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests import golang
from tests.minio import binary as minio

KUBERNETES: Final = "1.36.2"
_CONTAINERD: Final = "2.2.9"
_HELM: Final = "4.2.4"
_HERE: Final = Path(__file__).parent
_OWN: Final = "./cmd/"

# In the order in which they are needed: the control plane is of use before nodes are.
PACKAGES: Final[dict[str, str]] = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "helm": "helm.sh/helm/v4/cmd/helm",
    "containerd": "github.com/containerd/containerd/v2/cmd/containerd",
    "containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    "ctr": "github.com/containerd/containerd/v2/cmd/ctr",
    "bridge": "github.com/containernetworking/plugins/plugins/main/bridge",
    "host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local",
    "loopback": "github.com/containernetworking/plugins/plugins/main/loopback",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    "coredns": f"{_OWN}coredns",
    "fakegpu": f"{_OWN}fakegpu",
    "pause": f"{_OWN}pause",
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl",
    "grpc-health-probe": "github.com/grpc-ecosystem/grpc-health-probe",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
}
OF_A_CLUSTER: Final = (*(name for name in PACKAGES if name != "kwok"), "minio")
"""What a cluster is made of and tested with; kwok's nodes are for measuring the controller, and cost minutes to build."""
_VERSIONS: Final = {
    # Without these the server calls itself v0.0.0: kubectl warns, and a chart's kubeVersion refuses it.
    "k8s.io/component-base/version.gitVersion": f"v{KUBERNETES}",
    "k8s.io/component-base/version.gitMajor": KUBERNETES.split(".")[0],
    "k8s.io/component-base/version.gitMinor": KUBERNETES.split(".")[1],
    "github.com/containerd/containerd/v2/version.Version": f"v{_CONTAINERD}",
    "helm.sh/helm/v4/internal/version.version": f"v{_HELM}",
}
_FLAGS: Final = (
    "-p=2",  # more links at once than that do not fit into a small machine's memory
    "-tags=no_btrfs,no_devmapper,no_zfs,netgo,osusergo",
    "-ldflags=-s -w " + " ".join(f"-X {name}={value}" for name, value in _VERSIONS.items()),
)


def folder() -> Path:
    """Where the pinned programs are, or would be; what may be put on PATH."""
    return golang.cache_folder("cluster", [_HERE / "go.mod", _HERE / "go.sum"], " ".join(_FLAGS))


def path(name: str) -> Path:
    """Where this program is, or would be."""
    if name == "minio":
        return minio.cached()
    if PACKAGES[name].startswith(_OWN):  # a change to one of ours shall not build Kubernetes again
        return golang.cache_folder(name, [_HERE / "go.sum", *sorted((_HERE / "cmd" / name).iterdir())]) / name
    return folder() / name


def build(name: str) -> Path:
    """The program, built now where it is not cached."""
    return minio.get() if name == "minio" else golang.build(path(name), PACKAGES[name], module=_HERE, flags=_FLAGS)


def missing(names: tuple[str, ...] = OF_A_CLUSTER) -> list[str]:
    """Those of the programs that are not built yet."""
    return [name for name in names if not path(name).exists()]
