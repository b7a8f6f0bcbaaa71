"""A full model's exports, whatever the base came as."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from kubetuner.diffusion import tensors
from kubetuner.diffusion.load import ModelSource, open_model
from kubetuner.errors import DataError
from kubetuner.evaluate.core import full
from kubetuner.v1alpha1.training_run_pb2 import Model

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def state(tiny_sdxl: Path) -> dict[str, torch.Tensor]:
    return {name: value + 0.01 for name, value in load_file(tiny_sdxl / UNET).items()}


def as_single_file(tiny_sdxl: Path, folder: Path, state: dict[str, torch.Tensor]) -> ModelSource:
    tensors.write(folder / "base.safetensors", full.single_file_entries(open_model(Model(path=str(tiny_sdxl)), base=folder), state), {})
    return open_model(Model(path="base.safetensors", config=str(tiny_sdxl)), base=folder)


def with_old_autoencoder(tiny_sdxl: Path, folder: Path, state: dict[str, torch.Tensor]) -> ModelSource:
    """Names of the attention before diffusers 0.15, which many published autoencoders still carry."""
    shutil.copytree(tiny_sdxl, folder / "old")
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, value in load_file(tiny_sdxl / VAE).items():
        for new, old in names.items():
            name = name.replace(f".{new}.", f".{old}.")
        renamed[name] = value
    save_file(renamed, folder / "old" / VAE)
    return open_model(Model(path="old"), base=folder)


def with_its_own_autoencoder(tiny_sdxl: Path, folder: Path, state: dict[str, torch.Tensor]) -> ModelSource:
    model = Model(path=str(tiny_sdxl))
    model.vae.path = str(tiny_sdxl / "vae")
    return open_model(model, base=folder)


@pytest.mark.parametrize("make", [as_single_file, with_old_autoencoder, with_its_own_autoencoder])
def test_exports_load_whatever_the_base_came_as(tiny_sdxl: Path, tmp_path: Path, state: dict[str, torch.Tensor], make: object) -> None:
    assert callable(make)
    source = make(tiny_sdxl, tmp_path, state)
    assert full.verify(source, state).keys() == {"model.safetensors"}
    full.write_folder(tmp_path / "out", source, state, prediction_type="v_prediction", zero_snr=True)
    pipe = StableDiffusionXLPipeline.from_pretrained(tmp_path / "out")
    base = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)
    for part in ("vae", "text_encoder", "text_encoder_2"):
        expected, found = getattr(base, part).state_dict(), getattr(pipe, part).state_dict()
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert torch.equal(pipe.unet.conv_in.weight, state["conv_in.weight"])
    assert (pipe.scheduler.config.prediction_type, pipe.scheduler.config.rescale_betas_zero_snr) == ("v_prediction", True)


def test_weights_of_the_asked_variant_are_taken(tiny_sdxl: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_sdxl / "vae", tmp_path / "vae")
    shutil.copy(tiny_sdxl / VAE, tmp_path / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    for variant, name in (("", "diffusion_pytorch_model.safetensors"), ("fp16", "diffusion_pytorch_model.fp16.safetensors")):
        source = ModelSource(name="m", root=tmp_path, variant=variant)
        assert [path.name for path in full.weight_files(source, "vae")] == [name]
    with pytest.raises(DataError, match="variant bf16"):
        full.weight_files(ModelSource(name="m", root=tmp_path, variant="bf16"), "vae")
