"""Which objects of a store nothing needs any more: a decision on an inventory, apart from the deed.

Kept are: what users asked for (outputs, reports, finished trainings, the states of unfinished ones, caches, manifests, base models) and
all that it names; what users pushed, and what jobs left; what is young, as its run may be on its way; the pools of encoders that a living
claim or a young shard belongs to; what is damaged, as only its owner can say. Everything else is not needed: halves that a killed writer
left, superseded states, shards, facts, images and losses that nothing names, memos of results that have gone, claims of the dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from kubetuner.artifacts.inventory import CLAIMS, Inventory, Node
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.storage.store import ObjectInfo

CLAIM_SECONDS: Final = 3600.0
"""A living claim is rewritten every second; an hour leaves room for clocks that differ."""
_TRAINED: Final = frozenset({"outputs", "report", "checkpoint"})
_ASKED_FOR: Final = _TRAINED | {"cache", "manifest", "model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What counts as needed."""

    now: float
    """Seconds since 1970."""
    young_seconds: float
    """Artifacts that are written to within so long are left alone."""
    caches: bool = False
    """Whether caches and manifests that no training names go too, and base models that no job names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """What is not needed."""

    nodes: tuple[Node, ...]
    stray: tuple[str, ...]
    """Objects of artifacts that stay."""
    claims: tuple[str, ...]
    memos: tuple[str, ...] = ()
    """Memos of results that have gone, or go now."""

    def keys(self) -> Iterator[str]:
        """All objects to delete, in their order: what names an artifact before it, its index before its data."""
        yield from self.memos
        for node in self.nodes:
            yield from node.keys
        yield from self.stray
        yield from self.claims


def decide(inventory: Inventory, terms: Terms) -> Garbage:
    """What is not needed on these terms."""
    nodes = inventory.nodes
    kept = reachable(inventory, roots(inventory, terms))
    stray = [key for ref in kept for key in nodes[ref].stray if _is_old(nodes[ref].modified, terms)]
    dead = [claim.key for claim in inventory.claims if not _is_living(claim, terms)]
    gone = sorted((node for ref, node in nodes.items() if ref not in kept), key=lambda node: (node.ref.noun, node.ref.fingerprint))
    memos = [key for key, ref in inventory.memos.items() if ref not in kept]
    return Garbage(nodes=tuple(gone), stray=tuple(sorted(stray)), claims=tuple(dead), memos=tuple(memos))


def reachable(inventory: Inventory, roots: Iterable[ArtifactRef]) -> set[ArtifactRef]:
    """The roots and all that they name, directly or through others."""
    pools: dict[str, list[ArtifactRef]] = {}
    for node in inventory.nodes.values():
        if node.pool and node.complete:
            pools.setdefault(node.pool, []).append(node.ref)
    kept: set[ArtifactRef] = set()
    pending = list(roots)
    while pending:
        ref = pending.pop()
        if ref in kept or ref not in inventory.nodes:
            continue
        kept.add(ref)
        found = inventory.nodes[ref]
        pending += [*found.refers, *(shard for pool in found.fills for shard in pools.get(pool, ()))]
    return kept


def roots(inventory: Inventory, terms: Terms) -> Iterator[ArtifactRef]:
    """What is needed for its own sake."""
    nodes = inventory.nodes
    busy = {claim.key.removeprefix(f"{CLAIMS}/").rpartition("-")[0] for claim in inventory.claims if _is_living(claim, terms)}
    busy |= {node.pool for node in nodes.values() if not _is_old(node.modified, terms)}
    busy.discard("")
    living = {claim.key.removeprefix(f"{CLAIMS}/") for claim in inventory.claims if _is_living(claim, terms)}
    finished = {ref.fingerprint for ref, node in nodes.items() if ref.noun == "checkpoint" and node.complete}
    unfinished = any(node.training and node.training not in finished for node in nodes.values())
    asked_for = _TRAINED if terms.caches and not unfinished else _ASKED_FOR  # a state does not tell which cache it needs to go on
    for ref, node in nodes.items():
        superseded = node.training in finished  # the finished training names the states that it keeps
        name = f"{ref.noun}/{ref.fingerprint}"
        wanted = node.complete and (ref.noun in asked_for or name in inventory.named) and not superseded
        if wanted or name in living or node.problem or node.pool in busy or not _is_old(node.modified, terms):
            yield ref


def _is_living(claim: ObjectInfo, terms: Terms) -> bool:
    return terms.now - claim.modified <= CLAIM_SECONDS


def _is_old(modified: float, terms: Terms) -> bool:
    return terms.now - modified >= terms.young_seconds
