"""The manifest: every picture found, counted once, with what is used of it or why it is not.

    manifest/<fingerprint>/index.json     counts by dataset and reason
    manifest/<fingerprint>/rows.parquet   one row a picture, in the order of (dataset in the spec, path)

Equal rows make equal bytes. Text in parquet is UTF-8, which file names need not be: `encode_path` and `decode_path` go between a key of
the source and the row's path.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, Json
from kubetuner.storage import Content, ObjectStore

NOUN: Final = "manifest"
FORMAT: Final = 1
SCHEMA: Final = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),  # id in the spec
        pa.field("kind", pa.string(), nullable=False),  # image or eval
        pa.field("path", pa.string(), nullable=False),  # key within the source, through encode_path
        pa.field("used", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # code of why it is not used; empty where it is
        pa.field("detail", pa.string(), nullable=False),  # the same in words; a note where it is used
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the file, hex; empty where it could not be read
        pa.field("pixels", pa.string(), nullable=False),  # pixels.digest, hex; empty where it could not be decoded
        pa.field("width", pa.int32(), nullable=False),  # true size after the EXIF orientation
        pa.field("height", pa.int32(), nullable=False),
        pa.field("resized_width", pa.int32(), nullable=False),  # from here on 0 and empty where it is not used
        pa.field("resized_height", pa.int32(), nullable=False),
        pa.field("crop_top", pa.int32(), nullable=False),
        pa.field("crop_left", pa.int32(), nullable=False),
        pa.field("target_width", pa.int32(), nullable=False),
        pa.field("target_height", pa.int32(), nullable=False),
        pa.field("bucket", pa.string(), nullable=False),  # aspect of the target with two decimals
        pa.field("captions", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
    ]
)
_ROWS: Final = "rows.parquet"
_ROW_GROUP: Final = 8192
_ESCAPE: Final = re.compile("[\udc80-\udcff\0-\x1f\x7f]|%(?=[0-9A-Fa-f]{2})")
_ESCAPED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest that is read."""

    ref: ArtifactRef
    index: Json
    table: pa.Table

    def used(self, kind: str | None = None) -> pa.Table:
        """Rows that are used, of datasets of this kind (`image` or `eval`), or of both."""
        used = self.table["used"]
        return self.table.filter(used if kind is None else pc.and_(used, pc.equal(self.table["kind"], kind)))


def pack(batches: Iterable[pa.RecordBatch], out: IO[bytes]) -> int:
    """Write rows that come in batches as they are kept, and tell how many; no more of them are held than a row group has."""
    count = 0
    with pq.ParquetWriter(out, SCHEMA, compression="zstd", version="2.6") as writer:
        for group in _groups(batches):
            writer.write_table(group, row_group_size=_ROW_GROUP)
            count += group.num_rows
    out.flush()
    return count


def commit(store: ObjectStore, ref: ArtifactRef, rows: int, packed: Content, summary: Json) -> ArtifactRef:
    """Keep so many rows that are packed, then the index with `summary` in it."""
    return objects.commit(store, ref, {"format": FORMAT, "rows": rows, **summary}, {_ROWS: packed})


def write(store: ObjectStore, ref: ArtifactRef, table: pa.Table, summary: Json) -> ArtifactRef:
    """`pack` and `commit` of rows that are a table."""
    assert table.schema.equals(SCHEMA), table.schema
    out = io.BytesIO()
    return commit(store, ref, pack(table.to_batches(), out), out.getvalue(), summary)


def read(store: ObjectStore, ref: ArtifactRef) -> Manifest:
    """A finished manifest, checked. Raises ArtifactError where it is missing or damaged."""
    index = objects.load(store, ref)
    data = objects.read(store, ref, index, _ROWS)
    return Manifest(ref=ref, index=index, table=pq.read_table(pa.BufferReader(data), schema=SCHEMA))


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of exactly _ROW_GROUP rows, and what is left: so that equal rows make equal bytes, in whatever batches they come."""
    held = SCHEMA.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch], SCHEMA)])
        while held.num_rows >= _ROW_GROUP:
            yield held.slice(0, _ROW_GROUP)
            held = held.slice(_ROW_GROUP)
    if held.num_rows:
        yield held


def encode_path(key: str) -> str:
    """A key of a source as valid text on one line: bytes that are not UTF-8 (lone surrogates in it) and control characters become %XX.

    So does a % that would read so.
    """
    return _ESCAPE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", key)


def decode_path(path: str) -> str:
    """The key that `encode_path` made a row's path from."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), path.encode()).decode("utf-8", "surrogateescape")
