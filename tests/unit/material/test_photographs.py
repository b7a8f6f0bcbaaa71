"""The photographs that tests and benchmarks train on, made from stand-ins of the packages' files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests import builders
from tests.material import photographs


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a picture at each place that the maker reads."""
    folder = tmp_path_factory.mktemp("packages")
    whole = folder / "whole.png"
    builders.picture((40, 36)).resize((1000, 900)).save(whole)
    for source in {photograph.source for photograph in photographs.PHOTOGRAPHS}:
        (folder / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole, folder / source)
    return folder


def test_captions_are_file_names(packages: Path, tmp_path: Path) -> None:
    photographs.write(packages, tmp_path / "out")
    names = {path.stem.replace("_", " ") for path in (tmp_path / "out").rglob("*.*")}
    assert names == {photograph.caption for photograph in photographs.PHOTOGRAPHS}


def test_detail_is_cut_from_its_picture(packages: Path, tmp_path: Path) -> None:
    photographs.write(packages, tmp_path / "out")
    with Image.open(tmp_path / "out/photographs/a_close_photograph_of_the_petals_of_an_orange_dahlia.png") as picture:
        assert picture.size == (320, 320)


def test_second_making_gives_equal_bytes_and_leaves_nothing_else(packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    photographs.write(packages, out)
    first = {path: path.read_bytes() for path in out.rglob("*.*")}
    (out / "photographs" / "stray.png").touch()
    photographs.write(packages, out)
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == first


def test_no_caption_is_cut_at_77_tokens() -> None:
    assert max(len(photograph.caption.split()) for photograph in photographs.PHOTOGRAPHS) < 25


def test_captions_are_all_different() -> None:
    assert len({photograph.caption for photograph in photographs.PHOTOGRAPHS}) == len(photographs.PHOTOGRAPHS)
