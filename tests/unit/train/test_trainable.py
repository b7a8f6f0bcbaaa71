"""What `train.lora.targets` makes trainable."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from kubetuner.errors import SpecError
from kubetuner.train.core.trainable import attach
from kubetuner.v1alpha1.training_run_pb2 import Lora, Train

KINDS = (torch.nn.Linear, torch.nn.Conv2d)


@pytest.fixture
def unet(tiny_sdxl: Path) -> UNet2DConditionModel:
    """The tiny model's, fresh."""
    return UNet2DConditionModel.from_pretrained(tiny_sdxl / "unet")


def adapted(unet: UNet2DConditionModel, *targets: str) -> set[str]:
    """Names of the modules that a LoRA of these targets changes."""
    lora = Lora(rank=2, alpha=2, dropout=0, targets=targets)
    names = attach(unet, Train(type="lora", lora=lora), 1, torch.float32).parameters
    return {name.rpartition(".lora_")[0] for name in names}


def changeable(unet: UNet2DConditionModel) -> set[str]:
    """Names of all modules that a LoRA can change."""
    return {name for name, module in unet.named_modules() if isinstance(module, KINDS)}


@pytest.mark.parametrize(
    ("targets", "begins", "ends"),
    [
        (["to_q"], "", ".to_q"),
        (["conv_in"], "conv_in", "conv_in"),
        (["attn1.to_out.0"], "", ".attn1.to_out.0"),
        (["up_blocks.*"], "up_blocks.", ""),
        (["up_blocks.*.conv1"], "up_blocks.", ".conv1"),
        (["attn2.to_*"], "", ("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0")),
        (["*"], "", ""),
    ],
)
def test_targets_are_ends_of_names_and_a_star_stands_for_anything(
    unet: UNet2DConditionModel, targets: list[str], begins: str, ends: str | tuple[str, ...]
) -> None:
    expected = {name for name in changeable(unet) if name.startswith(begins) and name.endswith(ends)}
    assert expected
    assert adapted(unet, *targets) == expected


def test_a_pattern_means_what_its_names_mean(tiny_sdxl: Path) -> None:
    names = sorted(name for name in changeable(UNet2DConditionModel.from_pretrained(tiny_sdxl / "unet")) if name.startswith("up_blocks.1."))
    states = []
    for targets in (["up_blocks.1.*"], names):
        lora = Lora(rank=2, alpha=2, dropout=0, targets=targets)
        trained = attach(UNet2DConditionModel.from_pretrained(tiny_sdxl / "unet"), Train(type="lora", lora=lora), 1, torch.float32)
        states.append(trained.state())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("target", ["up_blocks.*.conv9", "*.norm1", "up_blocks.0"])
def test_what_means_no_layer_that_can_be_changed_is_named(unet: UNet2DConditionModel, target: str) -> None:
    with pytest.raises(SpecError, match=r"spec\.train\.lora\.targets\[1\]"):
        adapted(unet, "to_q", target)
