"""Pools: items made once for ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from kubetuner.artifacts.pool import Array, Pool
from kubetuner.errors import ArtifactError
from kubetuner.storage.memory import MemoryStore

ENCODER = "e" * 40


def item(number: float) -> dict[str, Array]:
    return {
        "hidden": Array(dtype="F32", shape=(2, 3), data=np.full((2, 3), number, np.float32).tobytes()),
        "pooled": Array(dtype="BF16", shape=(2,), data=bytes([int(number)] * 4)),
    }


@given(st.sets(st.text("0123456789abcdef", min_size=4, max_size=8), min_size=1, max_size=9))
def test_every_item_comes_back(keys: set[str]) -> None:
    store = MemoryStore()
    Pool(store, "texts", ENCODER).write({key: item(number) for number, key in enumerate(sorted(keys))})
    pool = Pool(store, "texts", ENCODER)
    pool.refresh()
    assert pool.missing(keys) == []
    assert [pool.read(key) for key in sorted(keys)] == [item(number) for number in range(len(keys))]


def test_a_shard_is_a_safetensors_file() -> None:
    store = MemoryStore()
    pool = Pool(store, "texts", ENCODER)
    pool.write({"a": {"hidden": item(1)["hidden"]}, "b": {"hidden": item(2)["hidden"]}})
    (shard,) = pool.shards(["a", "b"])
    assert load(store.get(f"texts/{shard}/data.safetensors"))["hidden"].tolist() == [[[1.0] * 3] * 2, [[2.0] * 3] * 2]


def test_another_encoder_knows_nothing_of_it() -> None:
    store = MemoryStore()
    Pool(store, "texts", ENCODER).write({"a": item(1)})
    other = Pool(store, "texts", "f" * 40)
    other.refresh()
    assert other.missing(["a"]) == ["a"]


def test_a_flipped_bit_is_found_on_read() -> None:
    store = MemoryStore()
    pool = Pool(store, "texts", ENCODER)
    pool.write({"a": item(1), "b": item(2)})
    (shard,) = pool.shards(["a"])
    key = f"texts/{shard}/data.safetensors"
    data = bytearray(store.get(key))
    data[-1] ^= 1  # the last byte is of item b
    store.put(key, bytes(data), replace=True)
    pool.read("a")
    with pytest.raises(ArtifactError, match=r"data\.safetensors"):
        pool.read("b")


def test_a_shard_without_index_is_not_there() -> None:
    store = MemoryStore()
    store.put(f"texts/{ENCODER[:16]}-abc/data.safetensors", b"half")
    pool = Pool(store, "texts", ENCODER)
    pool.refresh()
    assert pool.missing(["a"]) == ["a"]
