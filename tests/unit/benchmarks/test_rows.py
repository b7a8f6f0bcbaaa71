"""Each row of `make bench` runs at the least size and gives its figures; no time is asserted."""

from pathlib import Path

import pytest

from benchmarks import figures, page
from benchmarks.figures import Figure
from benchmarks.material import Bench
from benchmarks.rows import ROWS
from tests.builders import photographs


@pytest.fixture
def bench(tiny_sdxl: Path, tmp_path: Path) -> Bench:
    photographs(tmp_path / "photographs", [(64, 64)] * 4)
    return Bench(
        model=tiny_sdxl,
        text_model=tiny_sdxl,
        photographs=tmp_path / "photographs",
        folder=tmp_path / "bench",
        side=64,
        steps=2,
        pairs=1,
        captions=5,
        small_pictures=(3, 9),
        unet_batches=(1,),
    )


@pytest.mark.parametrize(
    ("row", "begins"),
    [
        ("step", ["training step, ours to", "training step, ours", "loss of the first step"]),
        ("vae", ["VAE stage, images/s", "VAE stage, ours", "share of the bare time"]),
        ("text", ["text stage, captions/s", "text stage, ours"]),
        ("checkpoint", ["step while a checkpoint is written"] * 3),
        ("pipeline", ["whole pipeline"] * 4),
        ("unet", ["U-Net, batch 1"] * 12),
    ],
)
def test_row_gives_its_figures(row: str, begins: list[str], bench: Bench) -> None:
    measured = ROWS[row](bench)
    assert [figure.what.startswith(begin) for figure, begin in zip(measured, begins, strict=True)] == [True] * len(begins)


def test_bare_loop_does_the_work_of_ours(bench: Bench) -> None:
    apart = ROWS["step"](bench)[-1]
    assert apart.value < 1e-4


def test_ingest_row_counts_each_file(bench: Bench) -> None:
    assert any(figure.what.startswith("ingest: peak memory an image") for figure in ROWS["ingest"](bench))


def test_table_comes_back_from_its_json_and_into_the_page(tmp_path: Path) -> None:
    rows = {"step": [Figure(what="a step", value=1.05, at_most=1.03), Figure(what="a rate", value=1234.5, unit="images/s")]}
    kept = figures.as_json(rows)
    assert figures.from_json(kept) == rows
    assert kept["step"][0]["reached"] is False
    path = tmp_path / "performance.md"
    path.write_text("before\n<!-- figures: made by `make bench ARGS=--write-docs` -->\nold\n<!-- end of figures -->\nafter\n")
    machine = {
        "date": "2026-01-01",
        "device": "a processor",
        "cores": 2,
        "pairs": 5,
        "side": 384,
        "batchSize": 2,
        "versions": {"torch": "2"},
    }
    page.write(path, {"machine": machine, "rows": kept})
    text = path.read_text()
    assert "old" not in text
    assert "| `step` | a step | 1.05 × **missed** | ≤ 1.03 × |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
