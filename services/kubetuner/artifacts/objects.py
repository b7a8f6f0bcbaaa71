"""What all artifacts share: data objects first, the index last and only if absent.

<noun>/<fingerprint>/index.json     complete and final once it is there; holds its own SHA-256 too
<noun>/<fingerprint>/<name>         data objects; size and SHA-256 stand in the index and are checked on read

What is damaged is never used and never mended in silence: reading it is an error that names the artifact to delete, and whoever needs an
artifact that has gone makes it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubetuner.errors import ArtifactError
from kubetuner.storage import Content, ObjectStore, blocks

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
    """The index of an artifact, or None where it is not finished. Raises ArtifactError where the index is not as it was written."""
    if store.head(ref.key("index.json")) is None:
        return None
    try:
        data = store.get(ref.key("index.json"))
    except ArtifactError:
        if store.head(ref.key("index.json")) is None:  # deleted between the two
            return None
        raise
    try:
        index = json.loads(data)
        digest = index.pop("sha256")
        whole = digest == _digest(ref, index)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise damaged(ref, "index.json", "is not as it was written")
    found: Json = index
    return found


def load(store: ObjectStore, ref: ArtifactRef) -> Json:
    """The index of an artifact that must be there."""
    index = find(store, ref)
    if index is None:
        raise ArtifactError(f"{ref.key('index.json')}: no such artifact in {store.uri}; run the stage that makes it")
    return index


def commit(store: ObjectStore, ref: ArtifactRef, index: Json, objects: Mapping[str, Content]) -> ArtifactRef:
    """Write the data objects, then the index with their names, sizes and digests. Whose index is first has made the artifact."""
    rows = []
    for name, data in objects.items():
        size, digest = measure(data)
        row: Json = {"name": name, "size": size, "sha256": digest}
        if not store.put(ref.key(name), data) and not _is_there(store, ref.key(name), size, digest):
            # Left by a killed writer, or by one beside us, and not the same to the bit, as devices round: both keep their own, or an
            # index would describe the other's object, or a state be half of one attempt and half of another.
            row["object"] = f"{name}.{digest[:16]}"
            store.put(ref.key(row["object"]), data)
        rows.append(row)
    seal(store, ref, index, rows)
    return ref


def seal(store: ObjectStore, ref: ArtifactRef, index: Json, rows: Sequence[Json]) -> None:
    """Write the index of data objects that are all there; `rows` tell name, size and sha256 of each."""
    document = json.loads(canonical({"noun": ref.noun, **index, "objects": rows}))  # as a reader has it: text for keys, lists for tuples
    store.put(ref.key("index.json"), canonical({**document, "sha256": _digest(ref, document)}))


def drop(store: ObjectStore, ref: ArtifactRef, index: Json) -> None:
    """Delete an artifact; its index goes first, so that no half artifact is ever taken for a whole one."""
    store.delete(ref.key("index.json"))
    for row in index["objects"]:
        store.delete(key_of(ref, row))


def gone(store: ObjectStore, refs: Iterable[ArtifactRef]) -> list[ArtifactRef]:
    """Those of the artifacts that are not in the store, in their order."""
    return [ref for ref in refs if store.head(ref.key("index.json")) is None]


def read(store: ObjectStore, ref: ArtifactRef, index: Json, name: str) -> bytes:
    """A whole data object, checked against its size and digest in the index."""
    row = next((row for row in index["objects"] if row["name"] == name), None)
    if row is None:
        raise damaged(ref, name, "the index knows no such object")
    with reading(ref, name):
        data = store.get(key_of(ref, row))
    if len(data) != row["size"] or hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise damaged(ref, name, "differs from the size and SHA-256 in its index")
    return data


def key_of(ref: ArtifactRef, row: Json) -> str:
    """Key of the data object that a row of an index tells of."""
    return ref.key(str(row.get("object", row["name"])))


@contextmanager
def reading(ref: ArtifactRef, name: str) -> Iterator[None]:
    """Around a read of a data object: of one that is missing or cut short the error says how to mend it."""
    try:
        yield
    except ArtifactError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise  # it is there and cannot be read: the error says why
        raise damaged(ref, name, "is missing or cut short, though its index is there") from error


def damaged(ref: ArtifactRef, name: str, problem: str) -> ArtifactError:
    """What is wrong with an object, and the cure: without its artifact, the stage that needs it makes it again."""
    remove = f"kubetuner store rm --force {ref.noun}/{ref.fingerprint}"
    return ArtifactError(f"{ref.key(name)}: {problem}; run `{remove}` on this store, then run again")


def measure(data: Content) -> tuple[int, str]:
    """Size in bytes and SHA-256 of an object, in memory or in a file."""
    if isinstance(data, Path):
        with open(data, "rb") as file:
            return data.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for block in blocks(data):
        digest.update(block)
    return len(data), digest.hexdigest()


def read_json(store: ObjectStore, ref: ArtifactRef, index: Json, name: str) -> Any:
    """A whole data object as JSON, checked."""
    return json.loads(read(store, ref, index, name))


def _is_there(store: ObjectStore, key: str, size: int, digest: str) -> bool:
    try:
        return store.head(key) == size and hashlib.sha256(store.get(key)).hexdigest() == digest
    except ArtifactError:  # deleted meanwhile
        return False


def _digest(ref: ArtifactRef, index: Json) -> str:
    return hashlib.sha256(ref.prefix.encode() + canonical(index)).hexdigest()
