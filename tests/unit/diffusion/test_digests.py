"""Digests of files: of content, remembered, and never of an older content."""

import hashlib
from pathlib import Path

import pytest

from kubetuner.diffusion import digests


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"one")
    return path


@pytest.mark.parametrize("remembered_from", [0, 1 << 30])
def test_a_digest_is_of_content_also_after_a_change(file: Path, remembered_from: int) -> None:
    for content in (b"one", b"two", b"six"):
        before = digests.identity(file)
        while digests.identity(file) == before:  # the times of files tick every few milliseconds on older kernels
            file.write_bytes(content)
        assert digests.sha256(file, remembered_from=remembered_from) == hashlib.sha256(content).hexdigest()


def test_a_large_file_is_remembered(file: Path, tmp_path: Path) -> None:
    digests.sha256(file, remembered_from=0)
    (place,) = (tmp_path / "cache" / "kubetuner" / "digests").iterdir()
    place.write_text("f" * 64)
    digests._sha256.cache_clear()  # another process
    assert digests.sha256(file, remembered_from=0) == "f" * 64


def test_a_damaged_memory_is_read_over(file: Path, tmp_path: Path) -> None:
    digests.sha256(file, remembered_from=0)
    (place,) = (tmp_path / "cache" / "kubetuner" / "digests").iterdir()
    place.write_text("half")
    digests._sha256.cache_clear()
    assert digests.sha256(file, remembered_from=0) == hashlib.sha256(b"one").hexdigest()


def test_no_place_to_remember_costs_only_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert digests.sha256(file, remembered_from=0) == hashlib.sha256(b"one").hexdigest()


def test_the_hubs_own_names_are_taken(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / ("a" * 64)
    blob.parent.mkdir()
    blob.write_bytes(b"whatever")
    (tmp_path / "link").symlink_to(blob)
    assert digests.sha256(tmp_path / "link") == "a" * 64
