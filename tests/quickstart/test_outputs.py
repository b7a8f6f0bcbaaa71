"""What `make quickstart` left, looked at as a user would; run by .ci/run after it, not by `make test`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "build" / "quickstart"
OUT = QUICKSTART / "out"


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """result.json."""
    return json.loads((OUT / "result.json").read_text())


def draw(lora: Path | None) -> torch.Tensor:
    """Latents that the tiny model draws, with a LoRA or without."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(QUICKSTART / "tiny-sdxl")
    pipeline.set_progress_bar_config(disable=True)
    if lora is not None:
        pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    start = torch.Generator().manual_seed(3)
    return pipeline("a photograph of a camera", num_inference_steps=3, width=256, height=256, generator=start, output_type="latent").images


def test_result_says_what_was_done(result: dict[str, Any]) -> None:
    assert {"name", "phase", "artifacts", "work", "seconds", "loss", "evaluation"} <= result.keys()
    assert result["name"] == "photographs"
    assert set(result["artifacts"]) == {"manifest", "cache", "checkpoint", "report"}
    assert set(result["work"]) == {"imagesRead", "captionsEncoded", "imagesEncoded", "stepsTrained", "imagesGenerated"}
    assert result["loss"]["last"] < result["loss"]["first"] * 1.5


def test_both_layouts_of_the_lora_draw_the_same_and_not_what_the_base_draws() -> None:
    sgm = draw(OUT / "lora.safetensors")
    peft = draw(OUT / "diffusers" / "pytorch_lora_weights.safetensors")
    torch.testing.assert_close(sgm, peft, rtol=1e-3, atol=1e-3)
    assert (sgm - draw(None)).abs().mean() > 1e-4


def test_header_tells_what_the_lora_is_of() -> None:
    with safe_open(OUT / "lora.safetensors", framework="pt") as file:
        header, names = file.metadata(), list(file.keys())
    assert header["ss_network_dim"] == "16"
    assert header["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert sum(name.endswith(".alpha") for name in names) == len(names) / 3


def test_report_page_needs_no_network() -> None:
    page = (OUT / "report" / "index.html").read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "a tiny SDXL with random weights" in page, "the page must say that the weights are random"
    json.loads((OUT / "report" / "report.json").read_text())


def test_running_again_redoes_nothing() -> None:
    command = [sys.executable, "-m", "kubetuner.cli.main", "run", "examples/quickstart.yaml", "--json"]
    command += ["--store", str(QUICKSTART / "store"), "--out", str(OUT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    again = json.loads(done.stdout.splitlines()[-1])
    assert set(again["work"].values()) == {0}
