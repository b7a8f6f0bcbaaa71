"""What is trained of the U-Net: a LoRA through PEFT (its only door), or all weights. The loop does not know which."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model

from kubetuner import draws
from kubetuner.errors import ArtifactError, SpecError
from kubetuner.v1alpha1.training_run_pb2 import Lora, Train


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainable:
    """The trained weights by the names they are kept under."""

    kind: str
    """`adapter` or `unet`: the name of the weights' file in a checkpoint."""
    parameters: dict[str, torch.nn.Parameter]

    def state(self) -> dict[str, torch.Tensor]:
        """The weights as they are now; not a copy."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Take saved weights."""
        if state.keys() != self.parameters.keys():
            raise ArtifactError("the checkpoint's weights are not those of this run; delete it and run again")
        for name, parameter in self.parameters.items():
            parameter.copy_(state[name])


def attach(unet: UNet2DConditionModel, train: Train, seed: int, dtype: torch.dtype) -> Trainable:
    """Make the spec's part of the U-Net trainable, in `dtype`."""
    if train.type == "full":
        unet.requires_grad_(True)
        unet.to(dtype)
        return Trainable(kind="unet", parameters=dict(unet.named_parameters()))
    _inject(unet, train.lora, seed)
    parameters = {name.replace(".default.", "."): parameter for name, parameter in unet.named_parameters() if ".lora_" in name}
    for parameter in parameters.values():
        parameter.data = parameter.data.to(dtype)
        parameter.requires_grad_(True)
    return Trainable(kind="adapter", parameters=parameters)


def _inject(unet: UNet2DConditionModel, lora: Lora, seed: int) -> None:
    chosen = [_modules_of(unet, target, f"spec.train.lora.targets[{position}]") for position, target in enumerate(lora.targets)]
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=sorted({name for names in chosen for name in names}),
        init_lora_weights=True,
    )
    with torch.random.fork_rng(devices=[]):  # the start of the adapter is a named draw like any other
        torch.manual_seed(draws.key(seed, "adapter") % 2**63)
        inject_adapter_in_model(config, unet)


def _modules_of(unet: UNet2DConditionModel, target: str, path: str) -> list[str]:
    """Names of the modules that a target means: by the end of their names, or, with a `*` in it, by a pattern for the end.

    Raises SpecError where that is none, or, without a `*`, one of a kind that a LoRA cannot change.
    """
    found = {name: module for name, module in unet.named_modules() if fnmatchcase(f".{name}", f"*.{target}")}
    changeable = [name for name, module in found.items() if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))]
    if not found:
        raise SpecError(path, f"{target!r} matches no module of the U-Net; the attention projections are to_q, to_k, to_v, to_out.0")
    if len(changeable) < len(found) and ("*" not in target or not changeable):
        kind = next(type(module).__name__ for name, module in found.items() if name not in changeable)
        raise SpecError(path, f"{target!r} names a {kind}, but a LoRA changes linear layers and convolutions; name those, as to_q or conv1")
    return changeable
