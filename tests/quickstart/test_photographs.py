"""Real photographs of many sizes through the whole flow, by the tests' own run; started by .ci/run, not by `make test`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.quickstart.layouts import assert_both_layouts_draw_the_same

ROOT = Path(__file__).parents[2]
MATERIAL = ROOT / "build" / "material"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the run gives."""
    folder = tmp_path_factory.mktemp("photographs")
    command = [sys.executable, "-m", "kubetuner.cli.main", "run", "tests/material/photographs.yaml"]
    command += ["--store", str(folder / "store"), "--out", str(folder / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "out"


@pytest.fixture(scope="module")
def report(out: Path) -> dict[str, Any]:
    """report.json."""
    return json.loads((out / "report" / "report.json").read_text())


def test_pictures_that_are_too_small_are_counted(report: dict[str, Any]) -> None:
    trained = next(row for row in report["datasets"] if row["id"] == "photographs")
    assert (trained["used"], trained["unused"]) == (18, [{"reason": "too_small", "images": 2}])


def test_loss_does_not_run_away(out: Path) -> None:
    loss = json.loads((out / "result.json").read_text())["loss"]
    assert loss["last"] < loss["first"] * 1.5


def test_both_layouts_of_the_lora_draw_the_same_and_not_what_the_base_draws(out: Path) -> None:
    assert_both_layouts_draw_the_same(out, model=MATERIAL / "tiny-sdxl", prompt="a photograph of a camera", edge=256, apart=1e-4)


def test_page_says_that_the_weights_are_random(out: Path) -> None:
    assert "a tiny SDXL with random weights" in (out / "report" / "index.html").read_text()


def test_a_report_that_was_not_asked_for_more_shows_pairs_only(report: dict[str, Any]) -> None:
    assert "measures" not in report
    assert [sorted(row) for row in report["images"]] == [["base", "height", "negativePrompt", "prompt", "seed", "tuned", "width"]] * 4
