"""The manifest: every picture found, counted once, with what is used of it or why it is not.

    manifest/<fingerprint>/index.json     counts by dataset and reason
    manifest/<fingerprint>/rows.parquet   one row a picture, in the order of (dataset in the spec, path)

Equal rows make equal bytes. Text in parquet is UTF-8, which file names need not be: `encode_path` and `decode_path` go between a key of
the source and the row's path.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, Json
from kubetuner.storage import ObjectStore

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
_ROW_GROUP: Final = 65_536
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


def write(store: ObjectStore, ref: ArtifactRef, table: pa.Table, summary: Json) -> ArtifactRef:
    """Keep the rows, then the index with `summary` in it."""
    assert table.schema.equals(SCHEMA), table.schema
    rows = io.BytesIO()
    pq.write_table(table, rows, compression="zstd", row_group_size=_ROW_GROUP, version="2.6")
    return objects.commit(store, ref, {"format": FORMAT, "rows": table.num_rows, **summary}, {_ROWS: rows.getvalue()})


def read(store: ObjectStore, ref: ArtifactRef) -> Manifest:
    """A finished manifest, checked. Raises ArtifactError where it is missing or damaged."""
    index = objects.load(store, ref)
    data = objects.read(store, ref, index, _ROWS)
    return Manifest(ref=ref, index=index, table=pq.read_table(pa.BufferReader(data), schema=SCHEMA))


def encode_path(key: str) -> str:
    """A key of a source as valid text on one line: bytes that are not UTF-8 (lone surrogates in it) and control characters become %XX.

    So does a % that would read so.
    """
    return _ESCAPE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", key)


def decode_path(path: str) -> str:
    """The key that `encode_path` made a row's path from."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), path.encode()).decode("utf-8", "surrogateescape")
