"""What only a folder has: links, loops, rights, leftovers of a killed writer."""

import os
from pathlib import Path

import pytest

from kubetuner.errors import ArtifactError, DataError, SpecError
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


@pytest.mark.parametrize(("uri", "words"), [("ftp://a/b", "scheme"), ("./nowhere", "is not a folder"), ("s3://", "names no bucket")])
def test_an_address_that_is_none_is_named(tmp_path: Path, uri: str, words: str) -> None:
    with pytest.raises(SpecError, match=rf"spec\.here: .*{words}"):
        open_store(uri, path="spec.here", base=tmp_path, create=False)
