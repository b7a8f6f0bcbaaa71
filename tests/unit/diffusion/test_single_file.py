"""A single-file checkpoint read back with diffusers' own converters holds every tensor of the model, bit by bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm, infer_diffusers_model_type
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from kubetuner.diffusion import single_file, tensors
from kubetuner.diffusion.tensors import Entry
from kubetuner.errors import DataError

PARTS = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}


@pytest.fixture(scope="module")
def checkpoint(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[Entry] = []
    for part in PARTS:
        config = json.loads((tiny_sdxl / part / "config.json").read_text())
        rows += single_file.convert(part, single_file.read_entries(sorted((tiny_sdxl / part).glob("*.safetensors"))), config)
    path = tmp_path_factory.mktemp("single") / "model.safetensors"
    tensors.write(path, rows, {})
    return path


@pytest.mark.parametrize("part", PARTS)
def test_part_reads_back_equal(tiny_sdxl: Path, checkpoint: Path, part: str) -> None:
    kind: Any = PARTS[part]
    expected = kind.from_pretrained(tiny_sdxl / part).state_dict()
    weights = load_file(checkpoint)
    if part.startswith("text"):
        back = create_diffusers_clip_model_from_ldm(kind, checkpoint=weights, config=str(tiny_sdxl / part), local_files_only=True)
    else:
        back = kind.from_single_file(weights, config=str(tiny_sdxl / part), local_files_only=True)
    found = back.state_dict()
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_file_is_known_as_sdxl() -> None:
    """diffusers, as ComfyUI, tells SDXL by this key; a tiny model is too shallow to have it."""
    row = Entry(name="text_model.encoder.layers.9.mlp.fc2.bias", shape=(1,), dtype=torch.float32, load=lambda: torch.zeros(1))
    [converted] = single_file.convert("text_encoder_2", [row], {})
    assert infer_diffusers_model_type({converted.name: torch.zeros(1)}) == "xl_base"


def test_original_shapes(checkpoint: Path) -> None:
    weights = load_file(checkpoint)
    assert weights["first_stage_model.decoder.mid.attn_1.q.weight"].shape[2:] == (1, 1)
    width = weights["conditioner.embedders.1.model.ln_final.weight"].shape[0]
    assert weights["conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"].shape == (3 * width, width)
    assert weights["conditioner.embedders.1.model.text_projection"].shape[0] == width


def test_unknown_tensor_is_refused() -> None:
    row = Entry(name="adapter.weight", shape=(1,), dtype=torch.float32, load=lambda: torch.zeros(1))
    with pytest.raises(DataError, match=r"adapter\.weight"):
        single_file.convert("text_encoder_2", [row], {})
