"""Facts about files, each found out once for ever by decoding the file: its size, the hash of its pixels, or what is wrong with it.

    facts/<fingerprint>/index.json      a shard: the files that one run decoded one after another
    facts/<fingerprint>/facts.parquet

A fact is found by the SHA-256 of the file, so a second run, a run that goes on after a kill, and another user's run over the same files
decode nothing again. All shards of a store are read at the start: about 100 bytes a file.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, fingerprint
from kubetuner.storage import ObjectStore

NOUN: Final = "facts"
FORMAT: Final = 1
"""Counts up when decoding gives other pixels or finds other faults; facts of other formats are not read."""
_OBJECT: Final = "facts.parquet"
_SCHEMA: Final = pa.schema(
    [
        ("sha256", pa.binary(32)),
        ("pixels", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("face_sought", pa.bool_()),
        ("face_across", pa.float64()),
        ("face_down", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What is known of a file's content."""

    pixels: str = ""
    """Hash of the decoded pixels, hex; empty where the file cannot be used."""
    width: int = 0
    """True size after the EXIF orientation; 0 where the file cannot be used."""
    height: int = 0
    reason: str = ""
    """Code of what is wrong with it."""
    detail: str = ""
    """The same in words."""
    face_sought: bool = False
    """Whether a face was looked for."""
    face: tuple[float, float] | None = None
    """Centre of the largest face, as fractions of width and height from the left and the top."""


class Facts:
    """All facts of a store at one moment. Threads may share it."""

    def __init__(self, table: pa.Table) -> None:
        starts = _starts(b"".join(table["sha256"].to_pylist()))
        order = np.lexsort((~table["face_sought"].to_numpy(), starts))  # those with a face sought before those without
        self._starts = starts[order]
        sorted_table = table.take(pa.array(order)).combine_chunks()
        self._columns = {name: sorted_table[name] for name in sorted_table.column_names}

    def get(self, sha256: bytes, *, face: bool) -> Fact | None:
        """The fact of a file (by its digest of 32 bytes); with `face`, only one for which a face was looked for where it can be used."""
        place = int(np.searchsorted(self._starts, _starts(sha256)[0]))
        while place < len(self._starts) and self._columns["sha256"][place].as_py() != sha256:
            if self._starts[place] != _starts(sha256)[0]:
                return None
            place += 1
        if place == len(self._starts):
            return None
        row = {name: column[place].as_py() for name, column in self._columns.items()}
        if face and not row["face_sought"] and not row["reason"]:
            return None
        return Fact(
            pixels=row["pixels"].hex(),
            width=row["width"],
            height=row["height"],
            reason=row["reason"],
            detail=row["detail"],
            face_sought=row["face_sought"],
            face=None if row["face_across"] is None else (row["face_across"], row["face_down"]),
        )


def _starts(digests: bytes) -> np.ndarray:
    """The first 8 of each 32 bytes as numbers: enough to find a digest in a sorted list, at an eighth of its memory."""
    return np.frombuffer(digests, dtype=">u8")[::4].astype(np.uint64)


def load(store: ObjectStore) -> Facts:
    """Read all shards of the store."""
    tables = [_SCHEMA.empty_table()]
    for info in store.list(f"{NOUN}/"):
        prefix, _, name = info.key.rpartition("/")
        if name != "index.json":
            continue
        ref = ArtifactRef(noun=NOUN, fingerprint=prefix.partition("/")[2])
        index = objects.load(store, ref)
        if index["format"] == FORMAT:
            tables.append(pq.read_table(pa.BufferReader(objects.read(store, ref, index, _OBJECT)), schema=_SCHEMA))
    return Facts(pa.concat_tables(tables))


def digests(store: ObjectStore, ref: ArtifactRef) -> list[bytes]:
    """Digests of the files that a shard tells of; none where it is of another format and so never read."""
    index = objects.load(store, ref)
    if index["format"] != FORMAT:
        return []
    data = objects.read(store, ref, index, _OBJECT)
    found: list[bytes] = pq.read_table(pa.BufferReader(data), columns=["sha256"])["sha256"].to_pylist()
    return found


def write(store: ObjectStore, facts: Mapping[bytes, Fact]) -> None:
    """Keep facts by the files' digests in one new shard; none makes no shard."""
    if not facts:
        return
    keys = sorted(facts)
    rows = [facts[key] for key in keys]
    columns = {
        "sha256": keys,
        "pixels": [bytes.fromhex(row.pixels) for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "reason": [row.reason for row in rows],
        "detail": [row.detail for row in rows],
        "face_sought": [row.face_sought for row in rows],
        "face_across": [None if row.face is None else row.face[0] for row in rows],
        "face_down": [None if row.face is None else row.face[1] for row in rows],
    }
    data = io.BytesIO()
    pq.write_table(pa.table(columns, schema=_SCHEMA), data, compression="zstd")
    name = fingerprint(NOUN, FORMAT, [[key.hex(), row.face_sought] for key, row in zip(keys, rows, strict=True)])
    ref = ArtifactRef(noun=NOUN, fingerprint=name)
    objects.commit(store, ref, {"format": FORMAT, "rows": len(keys)}, {_OBJECT: data.getvalue()})
