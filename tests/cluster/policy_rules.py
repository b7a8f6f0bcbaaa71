"""What NetworkPolicies mean, as rules of nft: a pure function of policies, pods and namespaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

TABLE: Final = "kubetuner-policies"
_ANYWHERE: Final = "0.0.0.0/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod's address and what policies can choose it by."""

    namespace: str
    address: str
    labels: Mapping[str, str]
    ports: Mapping[str, int] = field(default_factory=dict)
    only: int | None = None
    """The one port that is this pod's, where its address is shared with others'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What there is at a moment; policies as the API gives them."""

    policies: Sequence[Mapping[str, Any]]
    pods: Sequence[Pod]
    namespaces: Mapping[str, Mapping[str, str]]


def rules(world: World) -> str:
    """A script that puts these rules in the place of the last ones.

    A packet must be let out by one policy of its sender and let in by one of its receiver, where these have any; answers pass. The host
    reaches every pod, as kubelets must.
    """
    out, into = _chain(world, "Egress"), _chain(world, "Ingress")
    return "\n".join(
        [
            f"add table inet {TABLE}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            *_block("chain out_of_pods", out),
            *_block("chain into_pods", into),
            *_block(
                "chain passing",
                ["type filter hook forward priority 10; policy accept;", *_entry(world, "Egress"), *_entry(world, "Ingress")],
            ),
            *_block("chain arriving", ["type filter hook input priority 10; policy accept;", *_entry(world, "Egress")]),
            "}",
            "",
        ]
    )


def _entry(world: World, direction: str) -> list[str]:
    addresses = sorted({pod.address for _, pod in _isolated(world, direction) if pod.only is None})
    side, chain = ("saddr", "out_of_pods") if direction == "Egress" else ("daddr", "into_pods")
    established = "ct state established,related accept"
    return [established, f"ip {side} {{ {', '.join(addresses)} }} jump {chain}"] if addresses else [established]


def _chain(world: World, direction: str) -> list[str]:
    """What is let through returns, all else that comes here is dropped."""
    lines = {line for policy, pod in _isolated(world, direction) for line in _passes(world, policy, pod, direction)}
    return [*sorted(lines), "counter drop"]


def _isolated(world: World, direction: str) -> Iterator[tuple[Mapping[str, Any], Pod]]:
    for policy in world.policies:
        if direction in policy["spec"].get("policyTypes", ["Ingress"]):
            for pod in world.pods:
                if pod.namespace == policy["metadata"]["namespace"] and selects(policy["spec"].get("podSelector", {}), pod.labels):
                    yield policy, pod


def _passes(world: World, policy: Mapping[str, Any], pod: Pod, direction: str) -> Iterator[str]:
    key, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    for rule in policy["spec"].get(key, []):
        for other in _peers(world, rule.get(peers), policy["metadata"]["namespace"]):
            sender, receiver = (pod, other) if direction == "Egress" else (other, pod)
            for port in _ports(rule.get("ports"), receiver):
                yield f"{_place('saddr', sender)} {_place('daddr', receiver)} {port} return"


def _peers(world: World, peers: Sequence[Mapping[str, Any]] | None, namespace: str) -> Iterator[Pod | str]:
    if not peers:
        yield _ANYWHERE
    for peer in peers or ():
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            yield f"{block['cidr']} " + " ".join(f"!{part}" for part in block.get("except", []))
            continue
        for pod in world.pods:
            if "namespaceSelector" in peer:
                near = selects(peer["namespaceSelector"], world.namespaces.get(pod.namespace, {}))
            else:
                near = pod.namespace == namespace
            if near and selects(peer.get("podSelector", {}), pod.labels):
                yield pod


def _place(side: str, place: Pod | str) -> str:
    """How nft says that a packet comes from or goes to a place; a block of addresses is `cidr !except !except`."""
    if isinstance(place, Pod):
        own = f" th dport {place.only}" if place.only is not None and side == "daddr" else ""
        return f"ip {side} {place.address}{own}"
    block, *without = place.split()
    return " ".join([f"ip {side} {block}", *(f"ip {side} != {part.removeprefix('!')}" for part in without)])


def _ports(ports: Sequence[Mapping[str, Any]] | None, receiver: Pod | str) -> Iterator[str]:
    if not ports:
        yield ""
    for port in ports or ():
        protocol, number = port.get("protocol", "TCP").lower(), port.get("port")
        if isinstance(number, str):
            number = receiver.ports.get(number) if isinstance(receiver, Pod) else None
            if number is None:
                continue  # this receiver has no port of that name
        last = f"-{port['endPort']}" if "endPort" in port else ""
        yield f"meta l4proto {protocol}" if number is None else f"{protocol} dport {number}{last}"


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector chooses these labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_holds(condition, labels) for condition in selector.get("matchExpressions", []))


def _holds(condition: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(condition["key"]), condition.get("values", [])
    answers = {"In": value in values, "NotIn": value not in values, "Exists": value is not None, "DoesNotExist": value is None}
    return answers[condition["operator"]]


def _block(head: str, lines: Sequence[str]) -> list[str]:
    return [f"  {head} {{", *(f"    {line}" for line in lines), "  }"]
