"""The mini SDXL as it lies in the repository: whole, small, licensed, and drawing what it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "mini-sdxl"
MODEL = EXAMPLE / "model"
LINES = ROOT / "examples" / "quickstart" / "line-drawings"


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLPipeline:
    loaded = StableDiffusionXLPipeline.from_pretrained(str(MODEL), add_watermarker=False)
    loaded.scheduler = DDIMScheduler.from_config(loaded.scheduler.config, timestep_spacing="trailing")
    loaded.set_progress_bar_config(disable=True)
    return loaded


def draw(pipeline: StableDiffusionXLPipeline, prompt: str) -> np.ndarray:
    """Four pictures of a prompt in [0, 1], [4, 64, 64, 3]."""
    seeds = [torch.Generator().manual_seed(seed) for seed in range(4)]
    options = {"height": 64, "width": 64, "num_inference_steps": 12, "guidance_scale": 3.0, "generator": seeds, "output_type": "np"}
    return pipeline([prompt] * 4, negative_prompt=[""] * 4, **options).images


def test_the_model_is_small() -> None:
    assert sum(file.stat().st_size for file in MODEL.rglob("*") if file.is_file()) <= 40_000_000


def test_ground_is_white_and_the_object_has_its_colour(pipeline: StableDiffusionXLPipeline) -> None:
    for prompt, channel in (("an emoji of a red apple", 0), ("an emoji of a cactus", 1), ("an emoji of a dolphin", 2)):
        pictures = draw(pipeline, prompt)
        corners = pictures[:, [1, 1, -2, -2], [1, -2, 1, -2]]
        assert corners.mean() > 0.95, prompt
        coloured = pictures[np.ptp(pictures, axis=-1) > 0.2]
        assert int(coloured.mean(axis=0).argmax()) == channel, prompt


def test_equal_seeds_draw_the_same_and_prompts_differ(pipeline: StableDiffusionXLPipeline) -> None:
    first, again, other = (draw(pipeline, prompt) for prompt in ("a frog", "a frog", "a guitar"))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.05


def test_the_model_card_names_every_licence() -> None:
    card = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    for words in ("SIL Open Font License", "Symbola", "Unicode", "MIT", "make.py"):
        assert words in card


def test_every_line_drawing_has_a_caption_with_the_trigger_and_none_is_in_both_parts() -> None:
    parts = [{file.stem for file in (LINES / part).glob("*.png")} for part in ("train", "heldout")]
    assert [len(part) for part in parts] == [120, 40]
    assert not parts[0] & parts[1]
    captions = [file.with_suffix(".txt").read_text(encoding="utf-8") for file in LINES.glob("*/*.png")]
    assert all(caption.startswith("a lineart emoji of ") for caption in captions)
