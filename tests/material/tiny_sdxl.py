"""A tiny SDXL: the true structure, file names and settings of stabilityai/stable-diffusion-xl-base-1.0, with random weights.

In: sizes, a seed and the merges of a CLIP vocabulary. Out: a folder in diffusers' layout that every SDXL program loads.
The real vocabulary is the mini SDXL's.

    python -m tests.material.tiny_sdxl --out build/material/tiny-sdxl
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

MERGES = Path(__file__).parents[2] / "examples" / "mini-sdxl" / "model" / "tokenizer" / "merges.txt"
START, END = "<|startoftext|>", "<|endoftext|>"
SCALING = 0.13025  # of SDXL's autoencoder: latents times this have unit deviation
HEAD = 64  # width of an attention head, in all parts of SDXL


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Widths and depths; SDXL's own stand behind each."""

    unet: tuple[int, int, int] = (32, 64, 128)
    """Channels of the U-Net's blocks (320, 640, 1280)."""
    transformers: tuple[int, int, int] = (1, 2, 2)
    """Transformer blocks in each attention of a block (1, 2, 10); the first block has no attention."""
    vae: tuple[int, int, int, int] = (32, 32, 64, 64)
    """Channels of the autoencoder's blocks (128, 256, 512, 512)."""
    text: tuple[int, int] = (64, 128)
    """Hidden widths of the two text encoders (768, 1280)."""
    layers: tuple[int, int] = (2, 3)
    """Layers of the two text encoders (12, 32)."""


def read_merges() -> list[str]:
    """CLIP's 48,894 merges."""
    return MERGES.read_text("utf-8").split("\n")[1:-1]  # the first line is a version


def vocabulary(merges: Sequence[str]) -> dict[str, int]:
    """Token ids in CLIP's order: bytes, bytes that end a word, merges, start, end."""
    symbols = _byte_symbols()
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *("".join(merge.split()) for merge in merges), START, END]
    assert len(set(tokens)) == len(tokens)
    return {token: number for number, token in enumerate(tokens)}


def write(folder: Path, *, merges: Sequence[str], sizes: Sizes | None = None, seed: int = 0) -> Path:
    """Make the model in `folder`; equal arguments give equal weights."""
    sizes = sizes or Sizes()
    words = vocabulary(merges)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _write_tokenizer(folder / "tokenizer", words, merges, pad=END)
        _write_tokenizer(folder / "tokenizer_2", words, merges, pad="!")
        _write_text_encoder(folder / "text_encoder", CLIPTextModel, _text_config(sizes, 0, len(words)))
        _write_text_encoder(folder / "text_encoder_2", CLIPTextModelWithProjection, _text_config(sizes, 1, len(words)))
        _make_unet(sizes).save_pretrained(folder / "unet")
        _make_vae(sizes).save_pretrained(folder / "vae")
    _write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    _write_json(folder / "model_index.json", _MODEL_INDEX)  # last: a folder that has it is whole
    return folder


def _byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes in CLIP's and GPT-2's vocabularies, in their order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(256 - len(printable))]


def _write_tokenizer(folder: Path, words: dict[str, int], merges: Sequence[str], *, pad: str) -> None:
    """SDXL's tokenizer files; the first pads with the end token, the second with "!" (id 0)."""
    specials = {"bos_token": _content(START), "eos_token": _content(END), "pad_token": pad, "unk_token": _content(END)}
    config = {
        "add_prefix_space": False,
        "bos_token": {"__type": "AddedToken", **_content(START)},
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "eos_token": {"__type": "AddedToken", **_content(END)},
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": pad,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": {"__type": "AddedToken", **_content(END)},
    }
    _write_json(folder / "vocab.json", words, indent=None)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    _write_json(folder / "special_tokens_map.json", specials)
    _write_json(folder / "tokenizer_config.json", config)


def _content(token: str) -> dict[str, Any]:
    return {"content": token, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def _text_config(sizes: Sizes, which: int, num_tokens: int) -> CLIPTextConfig:
    hidden = sizes.text[which]
    return CLIPTextConfig(
        vocab_size=num_tokens,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        projection_dim=hidden,
        num_hidden_layers=sizes.layers[which],
        num_attention_heads=hidden // HEAD,
        max_position_embeddings=77,
        hidden_act=("quick_gelu", "gelu")[which],
        layer_norm_eps=1e-5,
        bos_token_id=0,  # SDXL's own odd three: with end token 2 the pooled state is taken at the highest id, which is the end token
        eos_token_id=2,
        pad_token_id=1,
    )


def _write_text_encoder(folder: Path, make: type[CLIPTextModel | CLIPTextModelWithProjection], config: CLIPTextConfig) -> None:
    """Saved by hand, as transformers 5 drops the prefix `text_model.` that SDXL's files have."""
    config.architectures = [make.__name__]
    config.dtype = "float32"
    encoder = make(config)
    tensors = {
        name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": tensor.contiguous()
        for name, tensor in encoder.state_dict().items()
        if not name.endswith("position_ids")
    }
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _make_unet(sizes: Sizes) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=128,
        in_channels=4,
        out_channels=4,
        center_input_sample=False,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=sizes.unet,
        layers_per_block=2,
        norm_num_groups=32,
        cross_attention_dim=sum(sizes.text),
        transformer_layers_per_block=list(sizes.transformers),
        attention_head_dim=[max(1, channels // HEAD) for channels in sizes.unet],  # diffusers' name for the number of heads
        use_linear_projection=True,
        upcast_attention=None,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=sizes.text[1] + 6 * 256,
    )


def _make_vae(sizes: Sizes) -> AutoencoderKL:
    """Random, but scaled once so that latents and decoded pictures have the deviations of the real one's (1/SCALING and about 0.5)."""
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=sizes.vae,
        layers_per_block=2,
        act_fn="silu",
        latent_channels=4,
        norm_num_groups=32,
        sample_size=1024,
        scaling_factor=SCALING,
        force_upcast=True,
    )
    with torch.no_grad():
        moments = vae.encode(torch.rand(1, 3, 64, 64) * 2 - 1).latent_dist.parameters
        _rescale(vae.quant_conv, slice(0, 4), moments[:, :4], mean=0.0, deviation=1 / SCALING)
        _rescale(vae.quant_conv, slice(4, 8), moments[:, 4:], mean=-6.0, deviation=0.5)  # log variances: small, as a trained encoder's
        picture = vae.decode(torch.randn(1, 4, 16, 16) / SCALING).sample
        _rescale(vae.decoder.conv_out, slice(0, 3), picture, mean=0.0, deviation=0.5)
    return vae


def _rescale(conv: torch.nn.Conv2d, rows: slice, seen_BCHW: torch.Tensor, *, mean: float, deviation: float) -> None:
    """Change output channels `rows` of `conv`, which gave `seen_BCHW`, so that they get this mean and together this deviation."""
    assert conv.bias is not None
    centre = seen_BCHW.mean(dim=(0, 2, 3))
    factor = deviation / (seen_BCHW - centre[:, None, None]).std()
    conv.weight[rows] *= factor
    conv.bias[rows] = (conv.bias[rows] - centre) * factor + mean


def _write_json(path: Path, value: object, indent: int | None = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0.dev0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}

_MODEL_INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.19.0.dev0",
    "force_zeros_for_empty_prompt": True,
    "add_watermarker": None,
    # Shown on the report page; diffusers passes over keys with an underscore.
    "_kubetuner_notice": (
        "The base model is a tiny SDXL with random weights, made on this machine: its pictures are noise, before and after. "
        "What this page can show is that every stage works and that the loss falls. For pictures worth looking at, run the same file "
        "with the real model on a GPU."
    ),
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def main() -> None:
    """Make the model, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    arguments = parser.parse_args()
    if not (arguments.out / "model_index.json").exists():
        shutil.rmtree(arguments.out, ignore_errors=True)
        write(arguments.out, merges=read_merges())


if __name__ == "__main__":
    main()
