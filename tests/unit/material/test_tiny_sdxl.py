"""The tiny SDXL is what it claims to be: diffusers and transformers load it as they load the real one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from transformers import CLIPTokenizer

from tests import builders
from tests.material import tiny_sdxl as maker


def test_pipeline_draws_a_picture_that_is_not_flat(tiny_sdxl: Path) -> None:
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline("a red cat", num_inference_steps=2, width=64, height=64, output_type="pt").images
    assert drawn.shape == (1, 3, 64, 64)
    assert drawn.std() > 0.05


def test_autoencoder_has_latents_of_unit_deviation(tiny_sdxl: Path) -> None:
    vae = AutoencoderKL.from_pretrained(tiny_sdxl / "vae")
    with torch.inference_mode():
        latents = vae.encode(torch.rand(2, 3, 64, 64) * 2 - 1).latent_dist.mean * vae.config.scaling_factor
    assert 0.5 < latents.std() < 2


@pytest.mark.parametrize(("folder", "padding"), [("tokenizer", 256 + 256 + len(builders.merges()) + 1), ("tokenizer_2", 0)])
def test_each_tokenizer_pads_with_its_own_token(tiny_sdxl: Path, folder: str, padding: int) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(tiny_sdxl / folder)
    ids = tokenizer("a cat", padding="max_length", max_length=77).input_ids
    assert len(ids) == 77
    assert ids[4:] == [padding] * 73


def test_equal_seeds_give_equal_weights(tiny_sdxl: Path, tmp_path: Path) -> None:
    again = builders.tiny_model(tmp_path)
    for name in ("unet/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors", "vae/diffusion_pytorch_model.safetensors"):
        assert (again / name).read_bytes() == (tiny_sdxl / name).read_bytes()


def test_vocabulary_is_in_order_of_clip() -> None:
    words = maker.vocabulary(["a b</w>"])
    assert [words["!"], words["!</w>"], words["ab</w>"], words[maker.END]] == [0, 256, 512, 514]
