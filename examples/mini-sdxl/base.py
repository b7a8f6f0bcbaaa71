"""The model folder that the training begins from, an untrained U-Net beside trained autoencoder and text encoders, and the one it ends in.

python examples/mini-sdxl/base.py begin --out build/mini-sdxl/base
python examples/mini-sdxl/base.py end --base build/mini-sdxl/base --unet UNET.safetensors --out examples/mini-sdxl/model
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

TEXT = (32, 64)  # widths of the two text encoders
TIME = 64  # width of each of SDXL's six sizes, 256 in the real one


def make_unet() -> UNet2DConditionModel:
    """SDXL's three levels, two layers each, the first without attention; 96, 128 and 128 channels for 320, 640 and 1280."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(96, 128, 128),
        layers_per_block=2,
        norm_num_groups=32,
        cross_attention_dim=sum(TEXT),
        transformer_layers_per_block=[1, 1, 1],
        attention_head_dim=[3, 4, 4],  # diffusers' name for the number of heads
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME,
        projection_class_embeddings_input_dim=TEXT[1] + 6 * TIME,
    )


def begin(out: Path, *, vae: Path, seed: int = 0) -> None:
    """Complete `out`, which has the text encoders, to a whole SDXL with an untrained U-Net."""
    torch.manual_seed(seed)
    make_unet().save_pretrained(out / "unet")
    AutoencoderKL.from_pretrained(str(vae)).save_pretrained(out / "vae")
    _write_json(out / "scheduler" / "scheduler_config.json", _SCHEDULER)
    _write_json(out / "model_index.json", _MODEL_INDEX)  # last: a folder that has it is whole


def end(base: Path, *, unet: Path, out: Path) -> None:
    """The model as it is committed: `base` with trained U-Net weights, U-Net and autoencoder in fp16."""
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(base, fresh, ignore=shutil.ignore_patterns("figures.json"))
    for part, weights in (("unet", load_file(unet)), ("vae", load_file(base / "vae" / "diffusion_pytorch_model.safetensors"))):
        halves = {name: weight.half().contiguous() for name, weight in weights.items()}
        assert all(bool(weight.isfinite().all()) for weight in halves.values())
        save_file(halves, fresh / part / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.42.1",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",  # SDXL's own is epsilon, whose small errors at much noise colour the white ground
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
    "_diffusers_version": "0.42.1",
    # Shown on report pages; diffusers passes over keys with an underscore.
    "_kubetuner_notice": (
        "The base model is the mini SDXL of KubeTuner's repository, a demo: SDXL's structure with 18 million weights. "
        "It knows 415 emoji at 64 pixels, and nothing else."
    ),
    "force_zeros_for_empty_prompt": False,  # dropped captions were the empty prompt in training
    "add_watermarker": None,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def main() -> None:
    """Make the one or the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("begin", "end"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--vae", type=Path, default=Path("build/mini-sdxl/vae"), help="begin: the trained autoencoder")
    parser.add_argument("--base", type=Path, default=Path("build/mini-sdxl/base"), help="end: the model that the training began from")
    parser.add_argument("--unet", type=Path, help="end: the trained weights")
    arguments = parser.parse_args()
    if arguments.what == "begin":
        begin(arguments.out, vae=arguments.vae)
    else:
        end(arguments.base, unet=arguments.unet, out=arguments.out)


if __name__ == "__main__":
    main()
