"""Artifacts: data first, index last, checked on read."""

import json

import pytest

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.errors import ArtifactError
from kubetuner.storage.memory import MemoryStore

REF = ArtifactRef(noun="manifest", fingerprint="f00")


def test_an_artifact_is_found_once_its_index_is_written() -> None:
    store = MemoryStore()
    store.put(REF.key("rows"), b"1")
    assert objects.find(store, REF) is None
    objects.commit(store, REF, {"count": 1}, {"rows": b"1"})
    index = objects.load(store, REF)
    assert index["count"] == 1
    assert objects.read(store, REF, index, "rows") == b"1"


def test_a_finished_artifact_is_never_changed() -> None:
    store = MemoryStore()
    objects.commit(store, REF, {"count": 1}, {"rows": b"1"})
    objects.commit(store, REF, {"count": 2}, {"rows": b"2"})
    index = objects.load(store, REF)
    assert (index["count"], objects.read(store, REF, index, "rows")) == (1, b"1")


@pytest.mark.parametrize("left", [b"left by another", b"", b"mind", b"mine"])
def test_what_another_writer_left_is_neither_taken_nor_harmed(left: bytes) -> None:
    store = MemoryStore()
    store.put(REF.key("rows"), left)
    objects.commit(store, REF, {}, {"rows": b"mine"})
    index = objects.load(store, REF)
    assert objects.read(store, REF, index, "rows") == b"mine"
    assert store.get(REF.key("rows")) == left
    objects.drop(store, REF, index)
    assert [store.get(info.key) for info in store.list()] == ([] if left == b"mine" else [left])


@pytest.mark.parametrize("damage", [b"", b"2", b"12"])
def test_a_changed_object_is_refused(damage: bytes) -> None:
    store = MemoryStore()
    objects.commit(store, REF, {}, {"rows": b"1"})
    store.put(REF.key("rows"), damage, replace=True)
    with pytest.raises(ArtifactError, match="manifest/f00/rows"):
        objects.read(store, REF, objects.load(store, REF), "rows")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"noun":"cache"}'])
def test_a_damaged_index_is_refused(damage: bytes) -> None:
    store = MemoryStore()
    store.put(REF.key("index.json"), damage)
    with pytest.raises(ArtifactError, match=r"manifest/f00/index\.json"):
        objects.find(store, REF)


def test_fingerprints_are_of_content() -> None:
    assert objects.fingerprint({"a": 1, "b": [1.5, "é"]}) == objects.fingerprint({"b": [1.5, "é"], "a": 1})
    assert objects.fingerprint("a", "b") != objects.fingerprint("ab")


@pytest.mark.parametrize("change", [{"count": 2}, {"noun": "cache"}, {"objects": []}, {"extra": 1}, {"sha256": "0" * 64}])
def test_an_index_that_reads_well_and_was_changed_is_refused(change: dict[str, object]) -> None:
    store = MemoryStore()
    objects.commit(store, REF, {"count": 1}, {"rows": b"1"})
    index = json.loads(store.get(REF.key("index.json")))
    store.put(REF.key("index.json"), json.dumps({**index, **change}).encode(), replace=True)
    with pytest.raises(
        ArtifactError, match=r"manifest/f00/index\.json: is not as it was written; run `kubetuner store rm --force manifest/f00`"
    ):
        objects.find(store, REF)


def test_an_index_of_another_artifact_is_refused() -> None:
    store = MemoryStore()
    other = ArtifactRef(noun="manifest", fingerprint="f01")
    objects.commit(store, other, {}, {})
    store.put(REF.key("index.json"), store.get(other.key("index.json")))
    with pytest.raises(ArtifactError, match="not as it was written"):
        objects.find(store, REF)


def test_any_values_of_an_index_are_read_back() -> None:
    store = MemoryStore()
    values = {"numbers": {1: 1e-5, 2: 1e300, 10: -0.0}, "text": "é\ud800😀\0", "pair": (1, 2), "none": None}
    objects.commit(store, REF, values, {})
    found = objects.load(store, REF)
    assert (found["numbers"], found["text"], found["pair"]) == ({"1": 1e-5, "2": 1e300, "10": -0.0}, values["text"], [1, 2])


def test_what_is_dropped_is_gone_and_known_to_be() -> None:
    store = MemoryStore()
    objects.commit(store, REF, {}, {"a": b"1", "b": b"2"})
    assert objects.gone(store, [REF]) == []
    objects.drop(store, REF, objects.load(store, REF))
    assert objects.gone(store, [REF]) == [REF]
    assert list(store.list()) == []


def test_a_missing_object_says_what_to_delete() -> None:
    store = MemoryStore()
    objects.commit(store, REF, {}, {"rows": b"1"})
    store.delete(REF.key("rows"))
    with pytest.raises(
        ArtifactError, match=r"manifest/f00/rows: is missing.* `kubetuner store rm --force manifest/f00` on this store, then run again"
    ):
        objects.read(store, REF, objects.load(store, REF), "rows")
