"""One U-Net that wears the base model's weights, or those of a saved state; the only file of this room that knows PEFT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, Json
from kubetuner.diffusion import tensors
from kubetuner.errors import ArtifactError
from kubetuner.storage import ObjectStore

ADAPTER: Final = "trained"
"""PEFT's name of the adapter that `wear` puts in."""

Tensors = dict[str, torch.Tensor]


def read_state(store: ObjectStore, training: Json, fingerprint: str) -> Tensors:
    """What a saved state would be used with: the average of its weights where one was kept, else the weights.

    `training` is the index of the finished training.
    """
    ref = ArtifactRef(noun="checkpoint", fingerprint=fingerprint)
    index = objects.load(store, ref)
    names = {row["name"] for row in index["objects"]}
    plain = "adapter.safetensors" if training["weights"] == "adapter" else "unet.safetensors"
    return tensors.from_bytes(objects.read(store, ref, index, "ema.safetensors" if "ema.safetensors" in names else plain))


def wear(unet: UNet2DConditionModel, training: Json, state: Mapping[str, torch.Tensor]) -> None:
    """Put a saved state into the U-Net, in place of one worn before."""
    if training["weights"] == "adapter":
        _wear_adapter(unet, state, rank=training["adapter"]["rank"], alpha=training["adapter"]["alpha"])
        return
    own = unet.state_dict()
    if own.keys() != state.keys():
        differing = sorted(own.keys() ^ state.keys())
        raise ArtifactError(
            f"the checkpoint is of another U-Net than the base model: {len(differing)} weights differ (first: {differing[0]})"
        )
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)


def _wear_adapter(unet: UNet2DConditionModel, state: Mapping[str, torch.Tensor], *, rank: int, alpha: float) -> None:
    paths = sorted({name.rpartition(".lora_")[0] for name in state})
    if ADAPTER not in getattr(unet, "peft_config", {}):
        # `alpha` as it is: PEFT's annotation asks for a whole number, its arithmetic does not
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=paths), ADAPTER)
    result = set_peft_model_state_dict(unet, dict(state), adapter_name=ADAPTER)
    if result.unexpected_keys:
        raise ArtifactError(f"the adapter has weights for modules that the base model lacks (first: {result.unexpected_keys[0]})")
    unet.requires_grad_(False)


@contextmanager
def strength(unet: UNet2DConditionModel, scale: float) -> Iterator[None]:
    """Within it the adapter that the U-Net wears works at `scale` of what was trained."""
    if scale != 1:
        unet.set_adapters(ADAPTER, scale)
    try:
        yield
    finally:
        if scale != 1:
            unet.set_adapters(ADAPTER, 1.0)


def adapter_state(unet: UNet2DConditionModel, name: str) -> Tensors:
    """The tensors of an adapter in the U-Net, in the names of checkpoints."""
    found: Tensors = get_peft_model_state_dict(unet, adapter_name=name)
    return found


def adapter_scales(unet: UNet2DConditionModel, name: str) -> dict[str, float]:
    """alpha / rank of each module that an adapter changes."""
    return {
        path: float(module.scaling[name])
        for path, module in unet.named_modules()
        if isinstance(module, BaseTunerLayer) and name in module.scaling
    }
