"""What policies mean, without a cluster: test_nodes.py shows that the kernel keeps to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.cluster.policy_rules import Pod, World, rules, selects

_A = Pod(namespace="ours", address="10.0.0.1", labels={"app": "a"}, ports={"web": 80})
_B = Pod(namespace="ours", address="10.0.0.2", labels={"app": "b"}, ports={"web": 81})
_OTHER = Pod(namespace="theirs", address="10.0.0.3", labels={"app": "b"})


def _lines(direction: str, rule: Mapping[str, Any], *policy_types: str) -> Sequence[str]:
    key = direction.lower()
    spec = {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": policy_types or [direction], key: [rule]}
    policy = {"metadata": {"namespace": "ours"}, "spec": spec}
    world = World(policies=[policy], pods=[_A, _B, _OTHER], namespaces={"ours": {"team": "x"}, "theirs": {"team": "y"}})
    return [line.strip() for line in rules(world).splitlines() if line.strip().endswith("return")]


@pytest.mark.parametrize(
    ("peer", "addresses"),
    [
        ({"podSelector": {"matchLabels": {"app": "b"}}}, ["10.0.0.2"]),
        ({"podSelector": {}}, ["10.0.0.1", "10.0.0.2"]),
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}}, ["10.0.0.3"]),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "b"}}}, ["10.0.0.2", "10.0.0.3"]),
        ({"ipBlock": {"cidr": "10.1.0.0/16"}}, ["10.1.0.0/16"]),
        ({"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}}, ["10.1.0.0/16 ip saddr != 10.1.2.0/24"]),
    ],
)
def test_peers_are_let_in(peer: Mapping[str, Any], addresses: Sequence[str]) -> None:
    assert _lines("Ingress", {"from": [peer]}) == [f"ip saddr {address} ip daddr 10.0.0.1  return" for address in addresses]


@pytest.mark.parametrize(
    ("port", "text"),
    [
        ({"port": 80}, "tcp dport 80"),
        ({"port": 53, "protocol": "UDP"}, "udp dport 53"),
        ({"port": 8000, "endPort": 8010}, "tcp dport 8000-8010"),
        ({"port": "web"}, "tcp dport 80"),
        ({"protocol": "UDP"}, "meta l4proto udp"),
    ],
)
def test_ports_are_let_in(port: Mapping[str, Any], text: str) -> None:
    assert _lines("Ingress", {"ports": [port]}) == [f"ip saddr 0.0.0.0/0 ip daddr 10.0.0.1 {text} return"]


def test_name_of_a_port_is_each_receivers_own() -> None:
    rule = {"to": [{"podSelector": {}}], "ports": [{"port": "web"}]}
    assert [line.split(" daddr ")[1] for line in _lines("Egress", rule)] == ["10.0.0.1 tcp dport 80 return", "10.0.0.2 tcp dport 81 return"]


def test_policy_without_rules_lets_nothing_through() -> None:
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    script = rules(World(policies=[{"metadata": {"namespace": "ours"}, "spec": spec}], pods=[_A, _OTHER], namespaces={}))
    assert "ip daddr { 10.0.0.1 } jump into_pods" in script
    assert "ip saddr { 10.0.0.1 } jump out_of_pods" in script
    assert "return" not in script


def test_without_policies_nothing_is_dropped_on_its_way() -> None:
    assert "jump" not in rules(World(policies=[], pods=[_A, _B], namespaces={}))


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ({"key": "app", "operator": "In", "values": ["a", "b"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "none", "operator": "NotIn", "values": ["a"]}, True),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "none", "operator": "DoesNotExist"}, True),
        ({"key": "none", "operator": "Exists"}, False),
    ],
)
def test_expression_selects(condition: Mapping[str, Any], chosen: bool) -> None:
    assert selects({"matchExpressions": [condition]}, {"app": "a"}) is chosen
