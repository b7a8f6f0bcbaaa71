"""Artifacts: data first, index last, checked on read."""

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
