"""The cluster itself, before anything of ours runs in it: pods, addresses, GPUs, policies. A node is lost in test_faults.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.kubectl import Kubectl, until
from tests.cluster.policies import in_force
from tests.cluster.workloads import insistent, job, pod, single


def _phase(kubectl: Kubectl, namespace: str, name: str) -> str:
    found = kubectl.get("pod", name, namespace)
    return found["status"]["phase"] if found else ""


def _log(kubectl: Kubectl, namespace: str, program: str, name: str = "asks") -> str:
    """What a pod prints that runs a program to its end."""
    kubectl.apply(single(name, program), namespace=namespace)
    until(lambda: _phase(kubectl, namespace, name) in ("Succeeded", "Failed"), f"the end of {name}")
    return kubectl("--namespace", namespace, "logs", name)


def test_restricted_job_runs(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(job("true", "pass"), namespace=namespace)
    kubectl("--namespace", namespace, "wait", "--for=condition=Complete", "job/true", "--timeout=300s")


def test_pod_that_may_become_root_is_refused(kubectl: Kubectl, namespace: str) -> None:
    spec = pod("pass")
    del spec["containers"][0]["securityContext"]
    refusal = kubectl.refusal({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bold"}, "spec": spec}, namespace=namespace)
    assert "violates PodSecurity" in refusal


def test_pod_is_confined(kubectl: Kubectl, namespace: str) -> None:
    status = _log(kubectl, namespace, "print(open('/proc/self/status').read())")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (facts["Seccomp"], facts["NoNewPrivs"], facts["CapBnd"], facts["Uid"].split()[0]) == ("2", "1", "0" * 16, "65532")


@pytest.mark.parametrize("name", ["kubernetes.default", "kubernetes.default.svc.cluster.local", "minio.minio"])
def test_service_has_a_name(kubectl: Kubectl, namespace: str, name: str) -> None:
    assert _log(kubectl, namespace, insistent(f"socket.gethostbyname('{name}')")).splitlines()[-1].startswith("10.96.")


def test_service_answers_pods(kubectl: Kubectl, namespace: str) -> None:
    program = insistent("urlopen('http://minio.minio:9000/minio/health/live', timeout=5).status")
    assert _log(kubectl, namespace, program).splitlines()[-1] == "200"


def test_pods_of_two_nodes_reach_each_other(kubectl: Kubectl, namespace: str) -> None:
    listens = single("listens", "from http.server import *; HTTPServer(('', 8000), SimpleHTTPRequestHandler).serve_forever()")
    asks = single("asks-other", "pass")
    listens["spec"]["nodeName"], asks["spec"]["nodeName"] = "node1", "node2"
    kubectl.apply(listens, namespace=namespace)
    kubectl("--namespace", namespace, "wait", "--for=condition=Ready", "pod/listens", "--timeout=300s")
    address = kubectl("--namespace", namespace, "get", "pod", "listens", "-o", "jsonpath={.status.podIP}")
    asks["spec"]["containers"][0]["command"][-1] = _asks(address, tries=120)
    kubectl.apply(asks, namespace=namespace)
    until(lambda: _phase(kubectl, namespace, "asks-other") == "Succeeded", "an answer from the other node")


def test_gpus_are_given_out_once(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    program = "import os, time; print(os.environ['NVIDIA_VISIBLE_DEVICES']); time.sleep(600)"
    names = [f"trains-{number}" for number in range(2 * cluster.gpus + 1)]
    kubectl.apply(*(single(name, program, gpus=1) for name in names), namespace=namespace)

    def running() -> list[str]:
        return [name for name in names if _phase(kubectl, namespace, name) == "Running"]

    until(lambda: len(running()) == len(names) - 1, "all GPUs in use")
    waiting = next(name for name in names if name not in running())
    why = ["get", "pod", waiting, "-o", 'jsonpath={.status.conditions[?(@.type=="PodScheduled")].message}']
    until(lambda: "Insufficient nvidia.com/gpu" in kubectl("--namespace", namespace, *why), "the scheduler's word on the last")
    kubectl("--namespace", namespace, "delete", "pod", running()[0])
    until(lambda: waiting in running(), "the freed GPU in use")


def test_device_that_fails_is_not_given_out(cluster: Cluster, kubectl: Kubectl) -> None:
    node = cluster.nodes[0]

    def offered() -> str:
        return kubectl("get", "node", node.name, "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}")

    node.ill(0)
    try:
        until(lambda: offered() == str(cluster.gpus - 1), "one GPU less")
    finally:
        node.ill()
    until(lambda: offered() == str(cluster.gpus), "all GPUs again")


def test_kubelet_comes_back_to_its_pods(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(single("lasts", "import time; time.sleep(600)"), namespace=namespace)
    kubectl("--namespace", namespace, "wait", "--for=condition=Ready", "pod/lasts", "--timeout=300s")

    def containers() -> list[dict[str, Any]]:
        found = kubectl.get("pod", "lasts", namespace)
        assert found is not None
        statuses: list[dict[str, Any]] = found["status"]["containerStatuses"]
        return statuses

    before = containers()
    for node in cluster.nodes:
        node.restart_kubelet()
        node.wait()
    until(lambda: containers() == before, "the same container, as it was")


def test_policy_shuts_strangers_out(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(
        single(
            "listens",
            "from http.server import *; HTTPServer(('', 8000), SimpleHTTPRequestHandler).serve_forever()",
            labels={"app": "server"},
        ),
        _policy(),
        namespace=namespace,
    )
    kubectl("--namespace", namespace, "wait", "--for=condition=Ready", "pod/listens", "--timeout=300s")
    address = kubectl("--namespace", namespace, "get", "pod", "listens", "-o", "jsonpath={.status.podIP}")
    until(lambda: address in in_force(), "the policy in force")
    kubectl.apply(single("friend", _asks(address, tries=120), labels={"app": "friend"}), namespace=namespace)
    until(lambda: _phase(kubectl, namespace, "friend") == "Succeeded", "the friend let in")
    kubectl.apply(single("stranger", _asks(address, tries=2)), namespace=namespace)
    until(lambda: _phase(kubectl, namespace, "stranger") == "Failed", "the stranger shut out")


def _asks(address: str, tries: int) -> str:
    """A program that ends well as soon as an address answers it."""
    tries_once = f"try: urlopen('http://{address}:8000/etc/hostname', timeout=1); sys.exit(0)\n  except OSError: time.sleep(0.5)"
    return f"import sys, time\nfrom urllib.request import urlopen\nfor _ in range({tries}):\n  {tries_once}\nsys.exit(1)"


def _policy() -> dict[str, Any]:
    peers = [{"podSelector": {"matchLabels": {"app": "friend"}}}]
    rule = {"from": peers, "ports": [{"protocol": "TCP", "port": 8000}]}
    spec = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"], "ingress": [rule]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "friends"}, "spec": spec}
