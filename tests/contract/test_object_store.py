"""What every object store must do; the same tests for all of them, MinIO being a real server."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubetuner.errors import ArtifactError
from kubetuner.storage import ObjectStore
from kubetuner.storage.directory import DirectoryStore
from kubetuner.storage.memory import MemoryStore

ODD_KEYS = [
    "a b.jpg",
    "100%.jpg",
    "100%25.jpg",
    "1+1=2.jpg",
    "a#b?c&d.jpg",
    "über/日本語/😀.jpg",
    "e\u0301.jpg",
    "new\nline.jpg",
    "tab\there.jpg",
    "quote\"'`<>|\\*.jpg",
    "~tilde.jpg",
    " leading and trailing ",
    "a/.hidden",
    "x" * 200,
]


@pytest.fixture(params=["memory", "directory", pytest.param("minio", marks=pytest.mark.needs("minio"))])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "minio":
        return request.getfixturevalue("minio").store(prefix="some/prefix")
    return MemoryStore() if request.param == "memory" else DirectoryStore(tmp_path / "store")


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_what_is_put_is_got(store: ObjectStore) -> None:
    assert store.put("a/b.bin", b"content")
    assert store.get("a/b.bin") == b"content"
    assert store.head("a/b.bin") == 7


def test_an_empty_object_is_one(store: ObjectStore) -> None:
    assert store.put("empty", b"")
    assert (store.get("empty"), store.head("empty")) == (b"", 0)
    assert not store.put("empty", b"more")


def test_a_file_is_put_like_bytes(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    store.put("big", tmp_path / "file")
    assert store.get("big") == b"x" * 3_000_000


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_a_view_of_memory_is_put_as_it_is_at_that_time(store: ObjectStore, size: int) -> None:
    memory = bytearray(b"x" * size)
    store.put("key", memoryview(memory))
    memory[:] = b"y" * size
    assert store.get("key") == b"x" * size


@pytest.mark.parametrize("kind", ["bytes", "view", "file"])
def test_an_object_of_many_parts_is_put_whole_and_only_if_absent(store: ObjectStore, tmp_path: Path, kind: str) -> None:
    content = b"".join(bytes([number]) * (1 << 20) for number in range(70)) + b"end"
    (tmp_path / "file").write_bytes(content)
    data = {"bytes": content, "view": memoryview(content), "file": tmp_path / "file"}[kind]
    assert store.put("big", data)
    assert store.head("big") == len(content)
    assert store.get("big") == content
    assert store.get("big", 50 << 20, 3) == b"\x32\x32\x32"
    assert not store.put("big", b"other" + content)
    assert store.put("big", b"other" + content, replace=True)
    assert store.get("big", 0, 6) == b"other\x00"


def test_of_many_writers_of_a_big_object_one_wins(store: ObjectStore) -> None:
    assert sorted(race(store, [bytes([number]) * ((64 << 20) + 1) for number in range(3)])) == [False, False, True]


def test_put_leaves_an_object_that_is_there(store: ObjectStore) -> None:
    store.put("key", b"first")
    assert not store.put("key", b"second")
    assert store.get("key") == b"first"


def test_put_replaces_when_asked(store: ObjectStore) -> None:
    store.put("key", b"first")
    assert store.put("key", b"second", replace=True)
    assert store.get("key") == b"second"


def test_put_with_replace_needs_nothing_to_replace(store: ObjectStore) -> None:
    assert store.put("key", b"first", replace=True)


def test_a_range_is_got_alone(store: ObjectStore) -> None:
    store.put("key", b"0123456789")
    assert store.get("key", 3, 4) == b"3456"
    assert store.get("key", 10, 0) == b""
    assert store.get("key", 7) == b"789"
    assert store.get("key", 10) == b""


@pytest.mark.parametrize(("start", "length"), [(8, 4), (11, 1), (10, 1), (11, 0), (11, None), (0, 11)])
def test_a_range_past_the_end_is_an_error(store: ObjectStore, start: int, length: int | None) -> None:
    store.put("key", b"0123456789")
    with pytest.raises(ArtifactError, match="key"):
        store.get("key", start, length)


@pytest.mark.parametrize(("start", "length"), [(0, None), (0, 0), (0, 1), (1, None)])
def test_a_missing_object_is_an_error_that_names_it(store: ObjectStore, start: int, length: int | None) -> None:
    with pytest.raises(ArtifactError, match="not/there"):
        store.get("not/there", start, length)
    assert store.head("not/there") is None


def test_a_folder_is_no_object(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    assert store.head("a") is None
    with pytest.raises(ArtifactError, match="a"):
        store.get("a")


def test_a_listing_is_sorted_and_keeps_to_its_prefix(store: ObjectStore) -> None:
    for key in ("b/2", "b/10", "a/1", "bc"):
        store.put(key, key.encode())
    assert [(info.key, info.size) for info in store.list("b")] == [("b/10", 4), ("b/2", 3), ("bc", 2)]
    assert keys(store, "b/") == ["b/10", "b/2"]
    assert keys(store, "x/") == []


def test_a_prefix_may_end_at_any_character(store: ObjectStore) -> None:
    names = ["a", "a-1", "a.b", "a0/x", "ab/c/d", "ab/cd", "abc", "b/ü1", "b/ü2"]
    for key in names:
        store.put(key, b"")
    for prefix in ["", "a", "a-", "ab", "ab/", "ab/c", "ab/c/", "abcd", "b/ü", "/", "b//"]:
        assert keys(store, prefix) == sorted(name for name in names if name.startswith(prefix)), prefix


def test_a_listing_is_longer_than_a_page(store: ObjectStore) -> None:
    names = [f"many/{number % 7}/{number:05d}" for number in range(1203)]
    for name in names:
        store.put(name, b"")
    assert keys(store, "many/") == sorted(names)


def test_a_listing_tells_when_an_object_was_written(store: ObjectStore) -> None:
    before = time.time()
    store.put("key", b"")
    after = time.time()
    [info] = store.list()
    assert before - 1 < info.modified < after + 1  # clocks of stores tick more slowly


def test_a_deleted_object_is_gone(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    assert store.head("a/b") is None
    assert list(store.list()) == []


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_key_may_hold_any_character(store: ObjectStore, key: str) -> None:
    assert store.put(key, b"content")
    assert (store.get(key), store.head(key), keys(store)) == (b"content", 7, [key])
    assert not store.put(key, b"")
    store.delete(key)
    assert keys(store) == []


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9), min_size=1, max_size=3),
    st.binary(max_size=99),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_parts_make_a_key_or_are_refused_in_words(store: ObjectStore, parts: list[str], content: bytes) -> None:
    key = "/".join(parts)
    if {".", ".."} & set(parts):
        with pytest.raises(ArtifactError):
            store.put(key, content)
        return
    assert store.put(f"under/{key}", content)
    assert keys(store, f"under/{key}") == [f"under/{key}"]
    assert store.get(f"under/{key}") == content
    store.delete(f"under/{key}")


@pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a//b", "a/./b", "../a", "a/../b", "a\0b"])
def test_what_is_no_key_is_refused_in_words(store: ObjectStore, key: str) -> None:
    with pytest.raises(ArtifactError):
        store.put(key, b"")


def test_of_many_writers_one_wins(store: ObjectStore) -> None:
    contents = [str(number).encode() for number in range(8)]
    wins = race(store, contents)
    assert [content for content, won in zip(contents, wins, strict=True) if won] == [store.get("key")]


def test_a_key_that_comes_and_goes_is_there_or_not_and_never_a_fault(store: ObjectStore) -> None:
    """As claims do, which several processes take and give back."""
    together = threading.Barrier(4)
    faults: list[Exception] = []

    def use(number: int) -> None:
        together.wait()
        try:
            for _ in range(50):
                if store.put("folder/key", b"content", durable=number % 2 == 0):
                    store.delete("folder/key")
                store.head("folder/key")
                with suppress(ArtifactError):
                    assert store.get("folder/key") == b"content"
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the test's to show)
            faults.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def race(store: ObjectStore, contents: list[bytes]) -> list[bool]:
    """Put all at once at `key`; who wrote."""
    wins = [False] * len(contents)

    def write(number: int) -> None:
        wins[number] = store.put("key", contents[number])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wins
