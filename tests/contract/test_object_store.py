"""What every object store must do; the same tests for all of them."""

import threading
from pathlib import Path

import pytest

from kubetuner.errors import ArtifactError
from kubetuner.storage import ObjectStore
from kubetuner.storage.directory import DirectoryStore
from kubetuner.storage.memory import MemoryStore


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return MemoryStore() if request.param == "memory" else DirectoryStore(tmp_path / "store")


def test_what_is_put_is_got(store: ObjectStore) -> None:
    assert store.put("a/b.bin", b"content")
    assert store.get("a/b.bin") == b"content"
    assert store.head("a/b.bin") == 7


def test_a_file_is_put_like_bytes(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    store.put("big", tmp_path / "file")
    assert store.get("big") == b"x" * 3_000_000


def test_put_leaves_an_object_that_is_there(store: ObjectStore) -> None:
    store.put("key", b"first")
    assert not store.put("key", b"second")
    assert store.get("key") == b"first"


def test_put_replaces_when_asked(store: ObjectStore) -> None:
    store.put("key", b"first")
    assert store.put("key", b"second", replace=True)
    assert store.get("key") == b"second"


def test_a_range_is_got_alone(store: ObjectStore) -> None:
    store.put("key", b"0123456789")
    assert store.get("key", 3, 4) == b"3456"
    assert store.get("key", 10, 0) == b""


@pytest.mark.parametrize(("start", "length"), [(8, 4), (11, 1)])
def test_a_range_past_the_end_is_an_error(store: ObjectStore, start: int, length: int) -> None:
    store.put("key", b"0123456789")
    with pytest.raises(ArtifactError, match="key"):
        store.get("key", start, length)


def test_a_missing_object_is_an_error_that_names_it(store: ObjectStore) -> None:
    with pytest.raises(ArtifactError, match="not/there"):
        store.get("not/there")
    assert store.head("not/there") is None


def test_a_listing_is_sorted_and_keeps_to_its_prefix(store: ObjectStore) -> None:
    for key in ("b/2", "b/10", "a/1", "bc"):
        store.put(key, key.encode())
    assert [(info.key, info.size) for info in store.list("b")] == [("b/10", 4), ("b/2", 3), ("bc", 2)]
    assert [info.key for info in store.list("b/")] == ["b/10", "b/2"]
    assert [info.key for info in store.list("x/")] == []


def test_a_deleted_object_is_gone(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    assert store.head("a/b") is None
    assert list(store.list()) == []


def test_of_many_writers_one_wins(store: ObjectStore) -> None:
    wins: list[bytes] = []

    def write(content: bytes) -> None:
        if store.put("key", content):
            wins.append(content)

    threads = [threading.Thread(target=write, args=(str(number).encode(),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.get("key")] == wins
