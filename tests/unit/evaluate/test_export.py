"""An export that is not what was trained is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from kubetuner.diffusion import tensors
from kubetuner.errors import ArtifactError
from kubetuner.evaluate.core import export, weights
from kubetuner.evaluate.core.export import ExportError, Seen


@pytest.fixture
def unet(tiny_sdxl: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(tiny_sdxl / "unet").eval()


def a_training(alpha: float = 2.0) -> dict[str, object]:
    return {"weights": "adapter", "adapter": {"rank": 2, "alpha": alpha}}


def a_state(unet: UNet2DConditionModel, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in unet.state_dict().items():
        if name.endswith(("attn1.to_q.weight", "attn2.to_k.weight")):
            path = name.removesuffix(".weight")
            state[f"{path}.lora_A.weight"] = torch.randn(2, value.shape[1], generator=generator)
            state[f"{path}.lora_B.weight"] = torch.randn(value.shape[0], 2, generator=generator)
    return state


def seen(unet: UNet2DConditionModel, state: dict[str, torch.Tensor], alpha: float) -> Seen:
    weights.wear(unet, a_training(alpha), state)
    found = Seen(unet, weights.ADAPTER)
    unet.unload_lora()
    return found


@pytest.mark.parametrize("alpha", [2.0, 0.5])
def test_true_files_are_verified(unet: UNet2DConditionModel, alpha: float) -> None:
    before, state = export.fixed_output(unet), a_state(unet)
    weights.wear(unet, a_training(alpha), state)
    digests = export.verify_lora(unet, a_training(alpha), state)
    assert digests.keys() == {"lora.safetensors", "diffusers/pytorch_lora_weights.safetensors"}
    assert torch.equal(export.fixed_output(unet), before)


def test_another_strength_is_found(unet: UNet2DConditionModel) -> None:
    state = a_state(unet)
    with pytest.raises(ExportError, match="scaled by 2, in the training it was 1"):
        seen(unet, state, 2.0).compare(seen(unet, state, 4.0), "lora.safetensors")


def test_other_numbers_are_found(unet: UNet2DConditionModel) -> None:
    state = a_state(unet)
    changed = state | {next(iter(state)): next(iter(state.values())) + 1e-3}
    with pytest.raises(ExportError, match="1 tensors read back differently"):
        seen(unet, state, 2.0).compare(seen(unet, changed, 2.0), "lora.safetensors")


def test_a_module_left_out_is_found(unet: UNet2DConditionModel) -> None:
    state = a_state(unet)
    fewer = dict(list(state.items())[2:])
    with pytest.raises(ExportError, match="2 tensors are not those"):
        seen(unet, state, 2.0).compare(seen(unet, fewer, 2.0), "lora.safetensors")


def test_adapter_of_another_model_is_refused(unet: UNet2DConditionModel) -> None:
    state = a_state(unet) | {"elsewhere.to_q.lora_A.weight": torch.zeros(2, 2), "elsewhere.to_q.lora_B.weight": torch.zeros(2, 2)}
    with pytest.raises(ArtifactError, match="elsewhere"):
        weights.wear(unet, a_training(), state)


@pytest.mark.parametrize(
    ("found", "message"),
    [({"a": torch.ones(2)}, "a does not read back"), ({"a": torch.zeros(2), "b": torch.zeros(1)}, "1 tensors read back that")],
)
def test_a_single_file_is_compared_tensor_by_tensor(found: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export.compare_tensors("model.safetensors", tensors.entries({"a": torch.zeros(2)}), found)
