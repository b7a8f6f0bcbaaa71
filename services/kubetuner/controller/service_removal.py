"""Deleting a run's artifacts: its own, but nothing that another run names or that anything else in the store was made from."""

from __future__ import annotations

import time
from collections.abc import Iterable

from kubetuner.artifacts import garbage, inventory
from kubetuner.artifacts.garbage import Terms
from kubetuner.artifacts.inventory import Inventory
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.controller.api import Json
from kubetuner.storage import ObjectStore

_SHARED = frozenset({"model"})


def remove(store: ObjectStore, run: Json, others: Iterable[Json]) -> int:
    """Delete what a run alone needs; gives the number of artifacts. `others` are the runs that stay."""
    found = inventory.survey(store)
    named = {ref for other in others for ref in artifacts(other)}
    gone = decide(found, artifacts(run), named)
    for ref in gone:
        for key in found.nodes[ref].keys:  # the index first, so that no half artifact is ever taken for a whole one
            store.delete(key)
    return len(gone)


def decide(found: Inventory, ours: Iterable[ArtifactRef], named: Iterable[ArtifactRef]) -> list[ArtifactRef]:
    """What goes, the newest of the flow first."""
    mine = set(ours) - set(named)
    mine |= {ref for ref, node in found.nodes.items() if ref.noun == "outputs" and node.refers & mine}
    terms = Terms(now=time.time(), young_seconds=0.0)
    kept = garbage.reachable(found, [*(ref for ref in garbage.roots(found, terms) if ref not in mine), *named])
    gone = garbage.reachable(found, mine) - kept
    return sorted((ref for ref in gone if ref.noun not in _SHARED), key=lambda ref: (inventory.NOUNS.index(ref.noun), ref.fingerprint))


def artifacts(run: Json) -> set[ArtifactRef]:
    """What a run's status names."""
    found = (run.get("status") or {}).get("artifacts") or {}
    return {ArtifactRef(noun=noun, fingerprint=fingerprint) for noun, fingerprint in found.items()}
