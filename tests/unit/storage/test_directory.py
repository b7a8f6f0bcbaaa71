"""What only a folder has: links, loops, rights, leftovers of a killed writer."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetuner.errors import ArtifactError, DataError, KubeTunerError, SpecError
from kubetuner.storage import open_store
from kubetuner.storage.directory import DirectoryStore


def keys(root: Path) -> list[str]:
    return [info.key for info in DirectoryStore(root).list()]


def test_a_loop_of_links_is_walked_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"1")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert len(keys(tmp_path)) == 1


@pytest.mark.parametrize("target", ["itself.jpg", "nowhere"])
def test_a_link_that_leads_nowhere_is_listed_and_cannot_be_read(tmp_path: Path, target: str) -> None:
    (tmp_path / "itself.jpg").symlink_to(tmp_path / target)
    assert keys(tmp_path) == ["itself.jpg"]
    with pytest.raises(ArtifactError, match=r"itself\.jpg"):
        DirectoryStore(tmp_path).get("itself.jpg")


def test_what_a_killed_writer_left_is_no_object(tmp_path: Path) -> None:
    (tmp_path / ".incoming").mkdir()
    (tmp_path / ".incoming" / "half").write_bytes(b"half")
    assert keys(tmp_path) == []


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb") as file:
        file.write(b"1")
    (key,) = keys(tmp_path)
    assert DirectoryStore(tmp_path).get(key) == b"1"


@pytest.mark.parametrize("key", ["/etc/passwd", "../outside", "a/../../b"])
def test_a_key_cannot_leave_the_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(ArtifactError, match="not a key"):
        DirectoryStore(tmp_path).get(key)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 4000:  # a path too long to open stands for a missing right, which root would not miss
        deep = deep / ("d" * 200)
    with pytest.raises(DataError, match="cannot be listed"):
        keys(deep / ("d" * 200))


def test_what_is_no_plain_file_is_listed_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    store = DirectoryStore(tmp_path)
    assert [(info.key, info.size) for info in store.list()] == [("endless", 0), ("pipe", 0), ("socket", 0)]
    for key in keys(tmp_path):
        assert store.head(key) is None
        with pytest.raises(ArtifactError, match=f"{key}: cannot be read"):
            store.get(key)
        with pytest.raises(KubeTunerError, match=f"{key}: stands where an object belongs"):
            store.put(key, b"1")


@pytest.mark.parametrize("obstacle", ["a", "a/b", ".incoming"])
def test_a_file_where_a_folder_belongs_is_an_error_and_not_somebody_elses_object(tmp_path: Path, obstacle: str) -> None:
    (tmp_path / obstacle).parent.mkdir(exist_ok=True)
    (tmp_path / obstacle).write_bytes(b"in the way")
    with pytest.raises(KubeTunerError, match=rf"a/b/c: cannot be written .*move {tmp_path / obstacle} away"):
        DirectoryStore(tmp_path).put("a/b/c", b"1")
    assert (tmp_path / obstacle).read_bytes() == b"in the way"


def test_folders_deeper_than_pythons_stack_are_listed(tmp_path: Path) -> None:
    deep = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=deep)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(os.open("file", os.O_CREAT, dir_fd=deep))
    os.close(deep)
    try:
        assert keys(tmp_path) == ["d/" * 1500 + "file"]
    finally:
        subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)  # pytest's own clean-up would recurse too deep


_NAMES = st.text("a/-.0é\udc80", min_size=1, max_size=12).map(lambda name: "/".join(filter(None, name.replace(".", "._").split("/"))))


@given(st.sets(_NAMES.filter(bool), max_size=8))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_a_listing_goes_in_the_order_of_keys(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    root = tmp_path_factory.mktemp("listed")
    made = [name for name in names if not any(other.startswith(f"{name}/") for other in names)]
    for name in made:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")
    assert keys(root) == sorted(made)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "is no address"),
        ("a\0b", "is no address"),
        ("ftp://a/b", "scheme"),
        ("./nowhere", "is not a folder"),
        ("s3://", "names no bucket"),
    ],
)
def test_an_address_that_is_none_is_named(tmp_path: Path, uri: str, words: str) -> None:
    with pytest.raises(SpecError, match=rf"spec\.here: .*{words}"):
        open_store(uri, path="spec.here", base=tmp_path, create=False)
