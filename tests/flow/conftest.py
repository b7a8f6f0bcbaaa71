"""The place where the flow's tests run: made once, its store emptied for each test."""

from pathlib import Path

import pytest

from tests.builders import photographs
from tests.flow.flows import Place

SIZES = [(64, 64), (128, 64), (70, 90), (64, 64), (200, 200), (64, 128), (96, 64)]


@pytest.fixture
def place(tiny_sdxl: Path, tmp_path: Path) -> Place:
    photographs(tmp_path / "photographs", SIZES)
    photographs(tmp_path / "heldout", [(64, 64), (80, 80)])
    (tmp_path / "tiny-sdxl").symlink_to(tiny_sdxl)
    return Place(tmp_path)
