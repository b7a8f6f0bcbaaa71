"""A sheet of what the mini SDXL draws: each row the emoji as it is, then pictures of it from four seeds.

python examples/mini-sdxl/sample.py --model examples/mini-sdxl/model --out build/mini-sdxl/samples.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline
from emoji import EDGE, Emoji, catalogue, colour, small
from PIL import Image

SEEDS = range(4)
SHOWN = "🐼🦊🐘🦋🌵🍄🍎🍕🍩🏰🚀🚗💡🎁🎸👻🐱🦁🌹🍔🌈🚲⚽😎"
COLUMNS = 4
GUIDANCE = 2.0
STEPS = 25


def load(model: Path) -> StableDiffusionXLPipeline:
    """The pipeline in fp32 with a DDIM sampler that begins at the last timestep, as training did."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(str(model), add_watermarker=False)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: StableDiffusionXLPipeline, emoji: Emoji) -> list[Image.Image]:
    """One emoji from each seed, with the sentence that prompts usually have."""
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    return pipeline(
        prompt=[f"an emoji of {emoji.phrase}"] * len(SEEDS),
        negative_prompt=[""] * len(SEEDS),
        height=EDGE,
        width=EDGE,
        guidance_scale=GUIDANCE,
        num_inference_steps=STEPS,
        generator=generators,
    ).images


def main() -> None:
    """Draw and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--out", type=Path, required=True, help="the picture, a PNG file")
    arguments = parser.parse_args()
    pipeline = load(arguments.model)
    by_character = {emoji.character: emoji for emoji in catalogue()}
    cell, width = EDGE + 2, (len(SEEDS) + 1) * (EDGE + 2) + 12
    rows = -(-len(SHOWN) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * cell), (225, 225, 225))
    for number, character in enumerate(SHOWN):
        x, y = number % COLUMNS * width, number // COLUMNS * cell
        for column, picture in enumerate([small(colour(character)), *draw(pipeline, by_character[character])]):
            sheet.paste(picture, (x + column * cell + (6 if column else 0), y))
    sheet.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4).save(arguments.out, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    main()
