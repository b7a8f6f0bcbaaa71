"""What `make quickstart` left, looked at as a user would; run by .ci/run after it, not by `make test`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from tests.quickstart.layouts import assert_both_layouts_draw_the_same

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "build" / "quickstart"
MODEL = ROOT / "examples" / "mini-sdxl" / "model"
OUT = QUICKSTART / "out"


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """result.json."""
    return json.loads((OUT / "result.json").read_text())


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """report.json."""
    return json.loads((OUT / "report" / "report.json").read_text())


@pytest.fixture(scope="module")
def drawn(report: dict[str, Any]) -> dict[float, dict[str, float]]:
    """Measures of what is drawn by the captions of held-out drawings, by the strength of the LoRA."""
    return {row["scale"]: row for row in report["measures"]["drawn"]}


def test_result_says_what_was_done(result: dict[str, Any]) -> None:
    assert {"name", "phase", "artifacts", "work", "seconds", "loss", "evaluation"} <= result.keys()
    assert result["name"] == "line-drawings"
    assert set(result["artifacts"]) == {"manifest", "cache", "checkpoint", "report"}
    assert set(result["work"]) == {"imagesRead", "captionsEncoded", "imagesEncoded", "stepsTrained", "imagesGenerated"}


def test_colour_goes(report: dict[str, Any], drawn: dict[float, dict[str, float]]) -> None:
    assert report["measures"]["true"]["colourless"] > 0.95
    assert drawn[1]["colourless"] > drawn[0]["colourless"] + 0.15
    assert drawn[1]["colourless"] > 0.9


def test_the_true_drawing_is_found_among_forty(report: dict[str, Any], drawn: dict[float, dict[str, float]]) -> None:
    assert report["measures"]["pictures"] == 40
    assert drawn[1]["rank"] < drawn[0]["rank"] - 6
    assert drawn[1]["first"] > drawn[0]["first"] + 0.2


def test_loss_falls_on_drawings_that_were_never_seen(report: dict[str, Any]) -> None:
    evaluation = report["evaluation"]
    assert evaluation["rankedBy"] == "heldOut"
    assert evaluation["finalLoss"] < evaluation["baseLoss"] * 0.7
    assert evaluation["models"][-1]["improved"] >= 36


def test_half_of_the_lora_lies_between(drawn: dict[float, dict[str, float]]) -> None:
    assert drawn[0]["colourless"] < drawn[0.5]["colourless"] < drawn[1]["colourless"]


def test_both_layouts_of_the_lora_draw_the_same_and_not_what_the_base_draws() -> None:
    assert_both_layouts_draw_the_same(OUT, model=MODEL, prompt="a lineart emoji of a fox", edge=64, apart=0.01)


def test_header_tells_what_the_lora_is_of() -> None:
    with safe_open(OUT / "lora.safetensors", framework="pt") as file:
        header, names = file.metadata(), list(file.keys())
    assert header["ss_network_dim"] == "16"
    assert header["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert sum(name.endswith(".alpha") for name in names) == len(names) / 3


def test_report_page_shows_it_without_a_network(report: dict[str, Any]) -> None:
    page = (OUT / "report" / "index.html").read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "random weights" not in page
    assert "a demo" in page, "the page must say what the model is"
    assert page.count('alt="True picture: a lineart emoji of') == 40
    assert page.count('alt="Base model: a lineart emoji of') == page.count('alt="Tuned model: a lineart emoji of') == 41
    assert 'id="strength"' in page
    assert len(report["contactSheet"]) == page.count('title="a lineart emoji of') == 120


def test_running_again_redoes_nothing() -> None:
    command = [sys.executable, "-m", "kubetuner.cli.main", "run", "examples/quickstart.yaml", "--json"]
    command += ["--store", str(QUICKSTART / "store"), "--out", str(OUT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    again = json.loads(done.stdout.splitlines()[-1])
    assert set(again["work"].values()) == {0}
