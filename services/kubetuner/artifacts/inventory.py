"""What a store holds: its artifacts as nodes, and which of them name which.

survey(store) -> Inventory. Nothing is read but the listing, the indexes and what jobs were asked for; file_survey.py looks further.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kubetuner.artifacts import dataset, model, objects
from kubetuner.artifacts.cache import LATENTS, TEXTS
from kubetuner.artifacts.objects import ArtifactRef, Json
from kubetuner.errors import ArtifactError
from kubetuner.storage import ObjectStore
from kubetuner.storage.places import STORE
from kubetuner.storage.store import ObjectInfo

NOUNS: Final = ("outputs", "report", "checkpoint", "cache", "manifest", LATENTS, TEXTS, "facts", "images", "losses", model.NOUN)
"""All nouns of the store, from what users ask for to what it is made from."""
CLAIMS: Final = "claims"
PLAIN: Final = {"datasets": 2, "models": 2, "jobs": 2, "results": 2, dataset.UPLOADS: 1}
"""What lies in a store besides artifacts, and how many parts of a key name one thing of it: what users pushed, jobs and their events,
memos of results, and the books of what was pushed."""
_STATE: Final = re.compile(r"(.+)-\d{9}")
_INDEX: Final = "index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An artifact, whole or not."""

    ref: ArtifactRef
    keys: tuple[str, ...]
    """Its objects, the index first."""
    size: int
    """Bytes of all of them."""
    modified: float
    """When the newest was written, in seconds since 1970."""
    complete: bool = True
    """Whether its index is there."""
    problem: str = ""
    """What is wrong with its index; empty where nothing is."""
    refers: frozenset[ArtifactRef] = frozenset()
    """What its index names."""
    fills: frozenset[str] = frozenset()
    """Pools (`noun/encoder`) of which it needs whatever is there: a cache that leaves the encoding to the training."""
    stray: tuple[str, ...] = ()
    """Objects beside its index that the index does not name: a killed writer's."""

    @property
    def pool(self) -> str:
        """The pool that a shard belongs to, as `noun/encoder`; empty for other nouns."""
        return f"{self.ref.noun}/{self.ref.fingerprint.partition('-')[0]}" if self.ref.noun in (TEXTS, LATENTS) else ""

    @property
    def training(self) -> str:
        """The training that a saved state belongs to; empty for all else."""
        match = _STATE.fullmatch(self.ref.fingerprint) if self.ref.noun == "checkpoint" else None
        return match[1] if match else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Objects of one name that are no artifact."""

    name: str
    """As `datasets/photographs`."""
    keys: tuple[str, ...]
    size: int
    modified: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A store at one moment."""

    nodes: dict[ArtifactRef, Node]
    folders: Sequence[Folder] = ()
    """What users pushed, and what jobs left, by name."""
    named: frozenset[str] = frozenset()
    """Addresses below the store that jobs name, as `model/<fingerprint>` or `datasets/photographs`."""
    memos: Mapping[str, ArtifactRef] = field(default_factory=dict)
    """Memos of results by their keys, each with the artifact that it names."""
    claims: Sequence[ObjectInfo] = ()
    others: Sequence[ObjectInfo] = ()
    """Objects that are none of ours."""

    def referring(self, ref: ArtifactRef) -> list[ArtifactRef]:
        """Those that name an artifact, or need whatever its pool holds."""
        node = self.nodes[ref]
        return sorted(
            (other.ref for other in self.nodes.values() if ref in other.refers or (node.pool and node.pool in other.fills)),
            key=lambda other: (NOUNS.index(other.noun), other.fingerprint),
        )


def survey(store: ObjectStore) -> Inventory:
    """Look at the whole store. Manifests do not name the facts of their files, and no memos are there: file_survey.survey tells both."""
    groups: dict[ArtifactRef, list[ObjectInfo]] = {}
    plain: dict[str, list[ObjectInfo]] = {}
    claims, others = [], []
    for info in store.list():
        noun, _, rest = info.key.partition("/")
        name, slash, _ = rest.partition("/")
        if noun == CLAIMS:
            claims.append(info)
        elif noun in NOUNS and slash:
            groups.setdefault(ArtifactRef(noun=noun, fingerprint=name), []).append(info)
        elif noun in PLAIN and slash:
            plain.setdefault("/".join(info.key.split("/")[: PLAIN[noun]]), []).append(info)
        else:
            others.append(info)
    nodes = {ref: _node(store, ref, found) for ref, found in groups.items()}
    folders = [_folder(name, infos) for name, infos in sorted(plain.items())]
    return Inventory(nodes=nodes, folders=folders, named=frozenset(_named(store, folders)), claims=claims, others=others)


def _folder(name: str, infos: Sequence[ObjectInfo]) -> Folder:
    keys = tuple(info.key for info in infos)
    return Folder(name=name, keys=keys, size=sum(info.size for info in infos), modified=max(info.modified for info in infos))


def _named(store: ObjectStore, folders: Sequence[Folder]) -> Iterator[str]:
    """What jobs were asked to read, and the models that they brought."""
    for folder in folders:
        for key in folder.keys if folder.name.startswith("jobs/") else ():
            if key.rpartition("/")[2] in ("request.json", "job.json"):
                yield from _addresses(document(store, key))


def _addresses(found: object) -> Iterator[str]:
    """All names below a store in a document, however deep."""
    if isinstance(found, str) and found.startswith(STORE):
        yield found.removeprefix(STORE).strip("/")
    elif isinstance(found, dict):
        if found.get("noun") == model.NOUN:
            yield f"{model.NOUN}/{found.get('fingerprint')}"
        for value in found.values():
            yield from _addresses(value)
    elif isinstance(found, list):
        for value in found:
            yield from _addresses(value)


def document(store: ObjectStore, key: str) -> object:
    """A JSON object of the store; None where it is damaged, or deleted meanwhile."""
    try:
        return json.loads(store.get(key))
    except (ArtifactError, ValueError, RecursionError):
        return None


def _node(store: ObjectStore, ref: ArtifactRef, found: Sequence[ObjectInfo]) -> Node:
    keys = [info.key for info in found]
    first = ref.key(_INDEX)
    problem = ""
    try:
        index = objects.find(store, ref) if first in keys else None
    except ArtifactError as error:
        index, problem = None, str(error)
    named = set() if index is None else {first, *(objects.key_of(ref, row) for row in index["objects"])}
    return Node(
        ref=ref,
        keys=tuple(sorted(keys, key=lambda key: (key != first, key))),
        size=sum(info.size for info in found),
        modified=max(info.modified for info in found),
        complete=index is not None,
        problem=problem,
        refers=frozenset() if index is None else frozenset(_refers(ref, index)),
        fills=frozenset() if index is None else frozenset(_fills(ref, index)),
        stray=() if index is None else tuple(key for key in keys if key not in named),
    )


def _refers(ref: ArtifactRef, index: Json) -> Iterator[ArtifactRef]:
    """What an index names; an index without such a key (a saved state, a shard) names nothing."""
    if "source" in index:
        yield ArtifactRef(**index["source"])
    for part in index.get("parts", ()):
        yield ArtifactRef(**part)
    if ref.noun == "checkpoint":
        for row in index.get("steps", ()):
            yield ArtifactRef(noun="checkpoint", fingerprint=row["fingerprint"])
    if ref.noun == "cache":
        for noun, shards in index["shards"].items():
            yield from (ArtifactRef(noun=noun, fingerprint=name) for name in shards or ())


def _fills(ref: ArtifactRef, index: Json) -> Iterator[str]:
    if ref.noun == "cache":
        yield from (f"{noun}/{index['encoders'][noun][:16]}" for noun, shards in index["shards"].items() if shards is None)
