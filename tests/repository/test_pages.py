"""The repository's pages say what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/README.md", "docs/cluster.md", "tests/material/README.md",
    "examples/quickstart/README.md", "examples/mini-sdxl/README.md", "examples/full/README.md", "examples/sdxl/README.md",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_named_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(r"\bmake ([a-z][a-z-]*)\b", re.sub(r"[^`]*?(`[^`]*`|```.*?```)", r"\1 ", (ROOT / page).read_text(), flags=re.DOTALL))
    )
    assert named <= targets


def test_map_of_the_house_names_files_that_are_there() -> None:
    named = re.findall(r"`((?:services|tests|tools|proto|examples|docs)/[\w./]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
