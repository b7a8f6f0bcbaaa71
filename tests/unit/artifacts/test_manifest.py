"""The manifest's rows: written, read back, and the names of files in them."""

from __future__ import annotations

import os

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetuner.artifacts import manifest
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.errors import ArtifactError
from kubetuner.storage.memory import MemoryStore

REF = ArtifactRef(noun="manifest", fingerprint="f" * 40)


def table(*rows: dict[str, object]) -> pa.Table:
    blank = {field.name: {"int32": 0, "int64": 0, "bool": True}.get(str(field.type), "") for field in manifest.SCHEMA} | {"captions": []}
    return pa.Table.from_pylist([blank | row for row in rows], schema=manifest.SCHEMA)


def test_rows_are_read_back() -> None:
    store = MemoryStore()
    rows = table({"path": "a/b\nc.png", "captions": ["x", "日本 😀"]}, {"path": "%FF", "used": False})
    manifest.write(store, REF, rows, {"seed": 1})
    found = manifest.read(store, REF)
    assert found.table.equals(rows)
    assert found.index["rows"] == 2
    assert found.index["seed"] == 1


def test_used_rows_are_of_one_kind() -> None:
    store = MemoryStore()
    rows = table({"path": "a", "kind": "image"}, {"path": "b", "kind": "image", "used": False}, {"path": "c", "kind": "eval"})
    manifest.write(store, REF, rows, {})
    found = manifest.read(store, REF)
    assert found.used("image")["path"].to_pylist() == ["a"]
    assert found.used("eval")["path"].to_pylist() == ["c"]


def test_equal_rows_make_equal_bytes() -> None:
    stores = [MemoryStore(), MemoryStore()]
    for store in stores:
        manifest.write(store, REF, table({"path": "a"}, {"path": "b"}), {})
    assert stores[0].get(REF.key("rows.parquet")) == stores[1].get(REF.key("rows.parquet"))


def test_changed_rows_are_an_error() -> None:
    store = MemoryStore()
    manifest.write(store, REF, table({"path": "a"}), {})
    store.put(REF.key("rows.parquet"), store.get(REF.key("rows.parquet"))[:-1], replace=True)
    with pytest.raises(ArtifactError, match=r"rows\.parquet"):
        manifest.read(store, REF)


@given(st.binary(min_size=1))
def test_any_file_name_has_a_path_in_utf8(name: bytes) -> None:
    key = os.fsdecode(name)
    path = manifest.encode_path(key)
    assert path.encode("utf-8")
    assert manifest.decode_path(path) == key


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"100%.png", "100%.png"),
        (b"two\nlines\x1b[31m", "two%0Alines%1B[31m"),
        (b"%41", "%2541"),
        (b"na\xffme", "na%FFme"),
        ("é".encode(), "é"),
        (b"%\xff", "%%FF"),
    ],
)
def test_plain_names_stay_as_they_are(name: bytes, path: str) -> None:
    assert manifest.encode_path(os.fsdecode(name)) == path
