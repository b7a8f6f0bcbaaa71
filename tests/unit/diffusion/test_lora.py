"""Both LoRA files give a U-Net the very outputs of the trained adapter, in the loaders that users have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_lora_to_diffusers, _maybe_map_sgm_blocks_to_diffusers
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict

from kubetuner.diffusion import lora, lora_header, tensors
from kubetuner.errors import ArtifactError, DataError

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
EVERYTHING = [*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "time_emb_proj", "conv_shortcut"]
SAMPLERS = ["downsamplers.0.conv", "upsamplers.0.conv"]


@pytest.fixture(scope="module")
def unet_folder(tiny_sdxl: Path) -> Path:
    return tiny_sdxl / "unet"


def load(folder: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(folder).eval()


def trained(unet: UNet2DConditionModel, targets: list[str], *, rank: int, alpha: float) -> dict[str, torch.Tensor]:
    """Puts an adapter with random weights into the U-Net and gives its tensors."""
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets), unet, "default")
    state = get_peft_model_state_dict(unet, adapter_name="default")
    generator = torch.Generator().manual_seed(5)
    state = {name: torch.randn(value.shape, generator=generator) * 0.2 for name, value in state.items()}
    set_peft_model_state_dict(unet, state, adapter_name="default")
    return state


@torch.no_grad()
def output(unet: UNet2DConditionModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    config = unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    conditions = {"text_embeds": torch.randn(1, pooled, generator=generator), "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
    hidden = torch.randn(1, 77, config.cross_attention_dim, generator=generator)
    return unet(torch.randn(1, 4, 8, 8, generator=generator), 500, hidden, added_cond_kwargs=conditions).sample


def pipeline(unet: UNet2DConditionModel) -> StableDiffusionXLPipeline:
    parts: dict[str, Any] = dict.fromkeys(["vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"])
    return StableDiffusionXLPipeline(unet=unet, add_watermarker=False, **parts)


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
@pytest.mark.parametrize(("rank", "alpha"), [(4, 4.0), (4, 2.0), (3, 7.5)])
@pytest.mark.parametrize("targets", [ATTENTION, EVERYTHING], ids=["attention", "everything"])
def test_loaded_file_acts_as_the_adapter(
    unet_folder: Path, tmp_path: Path, layout: str, rank: int, alpha: float, targets: list[str]
) -> None:
    unet = load(unet_folder)
    before = output(unet)
    state = trained(unet, targets, rank=rank, alpha=alpha)
    expected = output(unet)
    header: dict[str, str] = {}
    if layout == "kohya":
        written = lora.kohya_sgm(state, alpha, rank, unet.config)
    else:
        written, header = lora.diffusers_layout(state, alpha, rank)
    tensors.write(tmp_path / "x.safetensors", tensors.entries(written), header)
    pipe = pipeline(load(unet_folder))
    pipe.load_lora_weights(str(tmp_path), weight_name="x.safetensors")
    assert (expected - before).abs().max() > 1e-2
    torch.testing.assert_close(output(pipe.unet), expected, rtol=1e-4, atol=1e-5)


def test_kohya_names_convert_back_to_every_trained_module(unet_folder: Path) -> None:
    unet = load(unet_folder)
    state = trained(unet, EVERYTHING, rank=2, alpha=1.0)
    written = lora.kohya_sgm(state, 1.0, 2, unet.config)
    converted, alphas = _convert_non_diffusers_lora_to_diffusers(_maybe_map_sgm_blocks_to_diffusers(written, unet.config))
    back = convert_unet_state_dict_to_peft({name.removeprefix("unet."): value for name, value in converted.items()})
    assert {name: tuple(value.shape) for name, value in back.items()} == {name: tuple(value.shape) for name, value in state.items()}
    assert len(alphas) == len(state) / 2
    assert set(alphas.values()) == {1.0}


def comfy_names(unet: UNet2DConditionModel) -> dict[str, str]:
    """ComfyUI's rule: `lora_unet_` + sgm path with underscores, for each weight of the checkpoint; here from diffusers' own converter."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    sgm_names = _sgm_weights(unet)
    back = convert_ldm_unet_checkpoint({f"model.diffusion_model.{name}": torch.tensor(i) for i, name in enumerate(sgm_names)}, unet.config)
    return {
        f"lora_unet_{sgm_names[int(number)].removesuffix('.weight').replace('.', '_')}": name.removesuffix(".weight")
        for name, number in back.items()
        if name.endswith(".weight")
    }


def _sgm_weights(unet: UNet2DConditionModel) -> list[str]:
    from kubetuner.diffusion import sgm

    return [sgm.unet_parameter(name, unet.config) for name in unet.state_dict()]


def test_comfyui_knows_every_name(unet_folder: Path) -> None:
    unet = load(unet_folder)
    known = comfy_names(unet)
    state = trained(unet, [*EVERYTHING, *SAMPLERS], rank=2, alpha=1.0)
    written = lora.kohya_sgm(state, 1.0, 2, unet.config)
    found = {known[name.split(".")[0]] for name in written}
    assert found == {name.split(".lora_")[0] for name in state}


def test_names_are_those_of_stability_release() -> None:
    """Written down from the keys of sd_xl_base_1.0.safetensors and of LoRAs trained for it."""
    unet = {"layers_per_block": 2, "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]}
    pair = {".lora_A.weight": torch.zeros(1, 2), ".lora_B.weight": torch.zeros(2, 1)}
    paths = {
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k": "input_blocks_4_1_transformer_blocks_0_attn1_to_k",
        "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_out.0": "input_blocks_8_1_transformer_blocks_9_attn2_to_out_0",
        "mid_block.attentions.0.transformer_blocks.3.ff.net.0.proj": "middle_block_1_transformer_blocks_3_ff_net_0_proj",
        "mid_block.resnets.1.conv2": "middle_block_2_out_layers_3",
        "up_blocks.0.attentions.2.proj_in": "output_blocks_2_1_proj_in",
        "up_blocks.1.attentions.0.proj_out": "output_blocks_3_1_proj_out",
        "up_blocks.0.upsamplers.0.conv": "output_blocks_2_2_conv",
        "down_blocks.0.downsamplers.0.conv": "input_blocks_3_0_op",
        "up_blocks.2.resnets.2.conv_shortcut": "output_blocks_8_0_skip_connection",
        "down_blocks.0.resnets.1.time_emb_proj": "input_blocks_2_0_emb_layers_1",
    }
    state = {path + suffix: value for path in paths for suffix, value in pair.items()}
    written = lora.kohya_sgm(state, 1.0, 1, unet)
    assert {name.split(".")[0] for name in written} == {f"lora_unet_{name}" for name in paths.values()}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "no modules"),
        ({"a.lora_A.weight": torch.zeros(2, 3)}, "not a pair"),
        ({"a.lora_A.weight": torch.zeros(4, 3), "a.lora_B.weight": torch.zeros(3, 4)}, "has rank 4 and 4, the run has 2"),
    ],
)
def test_broken_adapter_is_not_exported(state: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        lora.diffusers_layout(state, 2.0, 2)


def test_module_that_sdxl_lacks_is_refused() -> None:
    state = {"transformer.x.lora_A.weight": torch.zeros(1, 2), "transformer.x.lora_B.weight": torch.zeros(2, 1)}
    with pytest.raises(DataError, match=r"transformer\.x"):
        lora.kohya_sgm(state, 1.0, 1, {"layers_per_block": 2, "up_block_types": []})


TRAINING = lora_header.Training(
    name="photographs", settings={"seed": 42, "learning_rate": 1e-4, "vae_hash": None}, captions={"set": {"a cat, studio": 2, "a dog": 1}}
)


def test_header_is_what_a1111_reads() -> None:
    header = lora_header.kohya({"x.alpha": torch.tensor(2.0)}, TRAINING, rank=4, alpha=2.0)
    assert header["ss_base_model_version"].startswith("sdxl_")
    assert (header["ss_network_dim"], header["ss_network_alpha"], header["ss_output_name"]) == ("4", "2", "photographs")
    assert header["ss_tag_frequency"] == '{"set": {"a cat": 2, "studio": 2, "a dog": 1}}'
    assert header["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert header["modelspec.hash_sha256"] == "0x" + header["sshs_model_hash"]
    assert (header["ss_seed"], header["ss_vae_hash"]) == ("42", "None")


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    state = {"b": torch.ones(3, 2), "a": torch.zeros(2, dtype=torch.bfloat16), "c": torch.tensor(1.0)}
    header = lora_header.kohya(state, TRAINING, rank=1, alpha=1.0)
    tensors.write(tmp_path / "x", tensors.entries(state), header)
    again = tensors.to_bytes(dict(reversed(state.items())), dict(reversed(header.items())))
    assert (tmp_path / "x").read_bytes() == again
    assert tensors.read_metadata(tmp_path / "x") == header
    back = tensors.from_bytes(again)
    assert back["a"].dtype == torch.bfloat16
    assert torch.equal(back["b"], state["b"])
