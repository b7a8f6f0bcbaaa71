"""Files that users push: compared by content, seen only when they are whole."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kubetuner.artifacts import dataset
from kubetuner.artifacts.dataset import Dataset
from kubetuner.artifacts.files import File
from kubetuner.errors import InputError
from kubetuner.storage import ObjectStore
from kubetuner.storage.directory import DirectoryStore
from kubetuner.storage.memory import MemoryStore
from kubetuner.storage.store import ObjectInfo

NAME = "datasets/photographs"


class Standing(MemoryStore):
    """A store whose clock stands."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return (replace(info, modified=1e9) for info in super().list(prefix))


def described(path: str, data: bytes) -> File:
    return File(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return MemoryStore() if request.param == "memory" else DirectoryStore(tmp_path / "store")


def sent(store: ObjectStore, **files: bytes) -> Dataset:
    found = Dataset(store, NAME)
    for path, data in files.items():
        found.take(described(path, data), data)
    found.flush()
    return found


def test_what_was_taken_is_not_missing(store: ObjectStore) -> None:
    sent(store, a=b"1", b=b"2")
    files = [described("a", b"1"), described("b", b"other"), described("c", b"3")]
    assert Dataset(store, NAME).compare(files) == ["b", "c"]
    assert store.get(f"{NAME}/a") == b"1"


def test_an_equal_size_is_no_equal_content(store: ObjectStore) -> None:
    sent(store, a=b"1")
    assert Dataset(store, NAME).compare([described("a", b"2")]) == ["a"]
    sent(store, a=b"2")
    assert Dataset(store, NAME).compare([described("a", b"2")]) == []


def test_of_books_that_the_store_s_clock_cannot_tell_apart_the_later_one_counts() -> None:
    store = Standing()
    for number in range(20):
        sent(store, a=b"%02d" % number)
        assert Dataset(store, NAME).compare([described("a", b"%02d" % number)]) == []


def test_what_came_by_other_ways_is_not_trusted(store: ObjectStore) -> None:
    store.put(f"{NAME}/b", b"2")
    found = sent(store, a=b"1")
    time.sleep(0.02)
    store.put(f"{NAME}/a", b"9", replace=True)
    assert found.compare([described("a", b"1"), described("b", b"2")]) == ["a", "b"]


def test_what_was_deleted_is_missing(store: ObjectStore) -> None:
    found = sent(store, a=b"1")
    found.delete(["a"])
    assert found.compare([described("a", b"1")]) == ["a"]


@pytest.mark.parametrize("size", [0, 5, dataset._IN_MEMORY + 1])
def test_a_file_is_seen_once_it_is_whole(store: ObjectStore, size: int) -> None:
    found, data = Dataset(store, NAME), bytes(size)
    with found.receive(described("deep/a", data)) as incoming:
        for start in range(0, size, 1 << 20):
            assert store.head(f"{NAME}/deep/a") is None
            incoming.write(data[start : start + (1 << 20)])
    found.flush()
    assert store.get(f"{NAME}/deep/a") == data
    assert Dataset(store, NAME).compare([described("deep/a", data)]) == []


@pytest.mark.parametrize(
    ("came", "words"), [(b"12", "2 bytes"), (b"1234", "more than the 3 bytes"), (b"124", "were announced"), (b"", "0 bytes")]
)
def test_what_is_not_what_was_announced_is_refused(store: ObjectStore, came: bytes, words: str) -> None:
    found = Dataset(store, NAME)
    with pytest.raises(InputError, match=words), found.receive(described("a", b"123")) as incoming:
        incoming.write(came)
    with pytest.raises(InputError, match="announced"):
        found.take(described("a", b"123"), came)
    assert list(store.list("datasets/")) == []


def test_a_break_leaves_nothing(store: ObjectStore) -> None:
    found = Dataset(store, NAME)

    def broken() -> None:
        with found.receive(described("a", b"123")) as incoming:
            incoming.write(b"1")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        broken()
    assert list(store.list("datasets/")) == []


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", "a/./b", "", "a\0", "\udc80"])
def test_no_file_gets_out_of_its_dataset(store: ObjectStore, path: str) -> None:
    with pytest.raises(InputError, match="no path of a file"):
        Dataset(store, NAME).take(described(path, b"1"), b"1")


@pytest.mark.parametrize(
    "name", ["photographs", "datasets", "datasets/", "model/x", "datasets/../x", "datasets/.x", "checkpoint/a", "datasets//x"]
)
def test_a_name_is_of_a_dataset_or_a_model(name: str) -> None:
    with pytest.raises(InputError, match="datasets/NAME or models/NAME"):
        Dataset(MemoryStore(), name)


def test_many_books_become_one_and_tell_the_same(store: ObjectStore) -> None:
    numbers = range(dataset._BOOKS + 1)
    for number in numbers:
        sent(store, **{f"f{number}": b"%d" % number})
    files = [described(f"f{number}", b"%d" % number) for number in numbers]
    assert Dataset(store, NAME).compare(files) == []
    assert len(dataset.books(store, NAME)) == 1
    assert Dataset(store, NAME).compare(files) == []


def test_a_damaged_book_costs_a_transfer_and_no_more(store: ObjectStore) -> None:
    found = sent(store, a=b"1")
    [book] = dataset.books(store, NAME)
    store.put(book.key, b"{", replace=True)
    assert found.compare([described("a", b"1")]) == ["a"]


def test_a_folder_is_listed_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.png", "a/c.png", ".git/config", "a/.cache/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    assert [path for _, path in dataset.list_folder(tmp_path)] == ["a/c.png", "b.png"]
    assert dataset.list_folder(tmp_path / "b.png") == [(tmp_path / "b.png", "b.png")]
    with pytest.raises(InputError, match="is not there"):
        dataset.list_folder(tmp_path / "none")
