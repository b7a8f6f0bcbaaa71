"""What all artifacts share: data objects first, the index last and only if absent.

<noun>/<fingerprint>/index.json     complete and final once it is there
<noun>/<fingerprint>/<name>         data objects; size and SHA-256 stand in the index and are checked on read
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubetuner.errors import ArtifactError
from kubetuner.storage import ObjectStore

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """Name of a finished artifact; all that passes from stage to stage."""

    noun: str
    fingerprint: str

    @property
    def prefix(self) -> str:
        """Folder of the artifact in the store, with the closing slash."""
        return f"{self.noun}/{self.fingerprint}/"

    def key(self, name: str) -> str:
        """Key of one of its objects."""
        return self.prefix + name


def canonical(value: object) -> bytes:
    """JSON in one spelling: sorted keys, no spaces, UTF-8. What fingerprints are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")


def fingerprint(*parts: object) -> str:
    """40 hex digits that stand for the parts' content."""
    return hashlib.sha256(canonical(parts)).hexdigest()[:40]


def find(store: ObjectStore, ref: ArtifactRef) -> Json | None:
    """The index of an artifact, or None where it is not finished."""
    key = ref.key("index.json")
    if store.head(key) is None:
        return None
    try:
        index = json.loads(store.get(key))
    except ValueError as error:
        raise ArtifactError(f"{key}: the index is damaged ({error}); delete it and run again") from error
    if not isinstance(index, dict) or index.get("noun") != ref.noun:
        raise ArtifactError(f"{key}: not an index of a {ref.noun}; delete it and run again")
    return index


def load(store: ObjectStore, ref: ArtifactRef) -> Json:
    """The index of an artifact that must be there."""
    index = find(store, ref)
    if index is None:
        raise ArtifactError(f"{ref.key('index.json')}: no such artifact in {store.uri}; run the stage that makes it")
    return index


def commit(store: ObjectStore, ref: ArtifactRef, index: Json, objects: Mapping[str, bytes | Path]) -> ArtifactRef:
    """Write the data objects, then the index with their sizes and digests. Whoever is first wins, object by object."""
    rows = []
    for name, data in objects.items():
        if not store.put(
            ref.key(name), data
        ):  # left by a killed writer, or by one beside us: it stays, and the index describes what is there
            data = store.get(ref.key(name))
        size, digest = measure(data)
        rows.append({"name": name, "size": size, "sha256": digest})
    document = {"noun": ref.noun, **index, "objects": rows}
    store.put(ref.key("index.json"), canonical(document))
    return ref


def read(store: ObjectStore, ref: ArtifactRef, index: Json, name: str) -> bytes:
    """A whole data object, checked against its size and digest in the index."""
    row = next((row for row in index["objects"] if row["name"] == name), None)
    if row is None:
        raise ArtifactError(f"{ref.key(name)}: the index knows no such object")
    data = store.get(ref.key(name))
    if len(data) != row["size"] or hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ArtifactError(f"{ref.key(name)}: differs from the size and SHA-256 in its index; delete {ref.prefix} and run again")
    return data


def measure(data: bytes | Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of an object, in memory or in a file."""
    if isinstance(data, Path):
        with open(data, "rb") as file:
            return data.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    return len(data), hashlib.sha256(data).hexdigest()


def read_json(store: ObjectStore, ref: ArtifactRef, index: Json, name: str) -> Any:
    """A whole data object as JSON, checked."""
    return json.loads(read(store, ref, index, name))
