"""The two layouts of an exported LoRA, as diffusers reads them."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline


def assert_both_layouts_draw_the_same(out: Path, *, model: Path, prompt: str, edge: int, apart: float) -> None:
    """What the LoRA's two files draw is equal, and on average `apart` or more from the base's latents; pictures of `edge` pixels a side."""
    sgm, peft, base = (
        _draw(model, prompt, edge, lora)
        for lora in (out / "lora.safetensors", out / "diffusers" / "pytorch_lora_weights.safetensors", None)
    )
    torch.testing.assert_close(sgm, peft, rtol=1e-3, atol=1e-3)
    assert (sgm - base).abs().mean() > apart


def _draw(model: Path, prompt: str, edge: int, lora: Path | None) -> torch.Tensor:
    pipeline = StableDiffusionXLPipeline.from_pretrained(model, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if lora is not None:
        pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    start = torch.Generator().manual_seed(3)
    return pipeline(prompt, num_inference_steps=3, width=edge, height=edge, generator=start, output_type="latent").images
