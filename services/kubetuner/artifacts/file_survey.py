"""A survey of a store down to the files of its data sets: which facts a manifest needs, by the rows of both, and the memos of results.

survey(store) -> Inventory, as `inventory.survey` gives it and these besides. Needs pyarrow, as the rows are parquet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from kubetuner.artifacts import facts, inventory, manifest
from kubetuner.artifacts.inventory import Folder, Inventory, Node
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.storage import ObjectStore


def survey(store: ObjectStore) -> Inventory:
    """Look at the whole store, and read memos and the rows of manifests and facts."""
    found = inventory.survey(store)
    return replace(found, nodes=found.nodes | _with_facts(store, found.nodes), memos=dict(_memos(store, found.folders)))


def _with_facts(store: ObjectStore, nodes: dict[ArtifactRef, Node]) -> dict[ArtifactRef, Node]:
    """The manifests, each naming the facts that tell of one of its files."""
    shards: dict[bytes, list[ArtifactRef]] = {}
    for ref in _whole(nodes, facts.NOUN):
        for digest in facts.digests(store, ref):
            shards.setdefault(digest, []).append(ref)
    found = {}
    for ref in _whole(nodes, manifest.NOUN):
        digests = {bytes.fromhex(text) for text in manifest.read(store, ref).table["sha256"].to_pylist()}
        named = {shard for digest in digests for shard in shards.get(digest, ())}
        found[ref] = replace(nodes[ref], refers=nodes[ref].refers | named)
    return found


def _whole(nodes: dict[ArtifactRef, Node], noun: str) -> Iterable[ArtifactRef]:
    return [ref for ref, node in nodes.items() if ref.noun == noun and node.complete]


def _memos(store: ObjectStore, folders: Sequence[Folder]) -> Iterator[tuple[str, ArtifactRef]]:
    for folder in folders:
        for key in folder.keys if folder.name.startswith("results/") else ():
            document = inventory.document(store, key)
            if isinstance(document, dict) and {"noun", "fingerprint"} <= document.keys():
                yield key, ArtifactRef(noun=str(document["noun"]), fingerprint=str(document["fingerprint"]))
