"""Who may speak to whom, by the policies of a release and Kubernetes' rules for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.helm import NAMESPACE, Manifest
from tests.chart.releases import of_kind, pods

pytestmark = pytest.mark.needs("helm")
Peer = tuple[str, dict[str, str]] | None
"""Namespace and labels of a pod; None for what is no pod of the cluster."""


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    operators = {"In": lambda key, values: labels.get(key) in values}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        operators[one["operator"]](one["key"], one["values"]) for one in selector.get("matchExpressions", [])
    )


def peer_matches(rule: dict[str, Any], peer: Peer, home: str) -> bool:
    if peer is None:
        return "ipBlock" in rule
    namespace, labels = peer
    if "namespaceSelector" in rule:
        there = matches(rule["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
    else:
        there = namespace == home
    return there and matches(rule.get("podSelector", {}), labels)


def one_way(policies: list[Manifest], side: str, pod: Peer, other: Peer, port: int) -> bool:
    """Whether a pod may be spoken to ("Ingress") or speak ("Egress")."""
    if pod is None:
        return True
    of_it = [
        one for one in policies
        if one["metadata"]["namespace"] == pod[0] and side in one["spec"]["policyTypes"] and matches(one["spec"]["podSelector"], pod[1])
    ]  # fmt: skip
    if not of_it:
        return True
    key, peers = ("ingress", "from") if side == "Ingress" else ("egress", "to")
    return any(
        (peers not in rule or any(peer_matches(one, other, pod[0]) for one in rule[peers]))
        and ("ports" not in rule or any(int(one["port"]) == port for one in rule["ports"]))
        for policy in of_it
        for rule in policy["spec"].get(key, [])
    )


def allowed(name: str, source: Peer, target: Peer, port: int) -> bool:
    policies = of_kind(name, "NetworkPolicy")
    return one_way(policies, "Egress", source, target, port) and one_way(policies, "Ingress", target, source, port)


def stage(name: str, namespace: str = NAMESPACE) -> Peer:
    return namespace, {"app.kubernetes.io/name": "kubetuner", "app.kubernetes.io/component": name, "kubetuner.dev/run": "a"}


def of_release(name: str, key: str) -> Peer:
    return NAMESPACE, pods(name)[key]["metadata"]["labels"]


CONTROLLER = "Deployment/kubetuner-controller"
MINIO = "StatefulSet/kubetuner-minio"
STRANGER: Peer = (NAMESPACE, {"app": "stranger"})


@pytest.mark.parametrize("name", ["trial", "whole"])
@pytest.mark.parametrize("room", ["ingest", "embed", "train", "evaluate"])
def test_the_pods_of_runs_reach_what_they_need_and_nothing_else(name: str, room: str) -> None:
    controller, pod = of_release(name, CONTROLLER), stage(room)
    assert allowed(name, controller, pod, 8080)
    assert allowed(name, pod, None, 53)
    assert not allowed(name, controller, pod, 22)
    assert not allowed(name, STRANGER, pod, 8080)
    assert not allowed(name, pod, STRANGER, 25)
    assert not allowed(name, pod, None, 6443)
    assert not allowed(name, None, pod, 8080)
    assert allowed(name, pod, None, 443) == (room == "ingest")


def test_the_trial_s_minio_is_open_to_ours_alone() -> None:
    minio = of_release("trial", MINIO)
    assert allowed("trial", of_release("trial", CONTROLLER), minio, 9000)
    assert all(allowed("trial", stage(room), minio, 9000) for room in ("ingest", "embed", "train", "evaluate"))
    assert allowed("trial", stage("train", "elsewhere"), minio, 9000)
    assert not allowed("trial", STRANGER, minio, 9000)
    assert not allowed("trial", minio, None, 443)


def test_a_store_outside_is_reached_on_its_own_port() -> None:
    assert allowed("own-store", stage("train"), None, 9000)
    assert allowed("own-store", of_release("own-store", CONTROLLER), None, 9000)
    assert allowed("whole", stage("train"), None, 80)
    assert not allowed("whole", stage("train"), None, 9000)


def test_ranks_speak_to_each_other_on_any_port() -> None:
    assert allowed("trial", stage("train"), stage("train"), 29500)
    assert allowed("trial", stage("train"), stage("train"), 40123)
    assert not allowed("trial", stage("train"), stage("train", "team-a"), 29500)
    assert not allowed("trial", stage("embed"), stage("train"), 29500)


@pytest.mark.parametrize("namespace", ["team-a", "team-b"])
def test_watched_namespaces_have_the_policies_too(namespace: str) -> None:
    assert allowed("whole", of_release("whole", CONTROLLER), stage("train", namespace), 8080)
    assert not allowed("whole", (namespace, {"app": "stranger"}), stage("train", namespace), 8080)
    assert not allowed("whole", stage("train", namespace), None, 443)


def test_the_controller_is_called_by_grpc_and_its_metrics_are_for_who_is_named() -> None:
    for name, readable in (("trial", False), ("whole", True)):
        controller = of_release(name, CONTROLLER)
        assert allowed(name, STRANGER, controller, 8443)
        assert allowed(name, STRANGER, controller, 8080) is readable
        assert not allowed(name, STRANGER, controller, 8081)
        assert allowed(name, controller, None, 6443)
        assert not allowed(name, controller, None, 22)


def test_standing_services_may_be_called() -> None:
    assert allowed("whole", STRANGER, of_release("whole", "Deployment/kubetuner-train"), 8080)
    assert not allowed("whole", STRANGER, of_release("whole", "Deployment/kubetuner-train"), 8081)
