"""A LoRA's tensors in the two layouts that users' tools read.

In: the adapter as checkpoints keep it, U-Net relative PEFT names (`….to_k.lora_A.weight`, `….to_k.lora_B.weight`), scale alpha / rank.
Out: `kohya_sgm` for ComfyUI, A1111, Forge, InvokeAI and diffusers; `diffusers_layout` for `load_lora_weights` and PEFT.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from kubetuner.diffusion import sgm
from kubetuner.errors import ArtifactError

_DOWN: Final = ".lora_A.weight"
_UP: Final = ".lora_B.weight"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two matrices of one adapted module."""

    down: torch.Tensor
    """[rank, in] for a linear module, [rank, in, kh, kw] for a convolution."""
    up: torch.Tensor
    """[out, rank], or [out, rank, 1, 1]."""


def modules(state: Mapping[str, torch.Tensor], rank: int) -> dict[str, Pair]:
    """The adapted modules by path, sorted; no module, half a pair, another rank or a tensor that is no adapter's is an error."""
    paths = sorted({name.removesuffix(_DOWN).removesuffix(_UP) for name in state})
    if not paths:
        raise ArtifactError("the adapter has no modules: nothing was trained, so there is nothing to export")
    pairs = {}
    for path in paths:
        down, up = state.get(path + _DOWN), state.get(path + _UP)
        if down is None or up is None:
            raise ArtifactError(f"adapter module {path!r} is not a pair of lora_A and lora_B; the checkpoint is damaged, train again")
        if down.shape[0] != rank or up.shape[1] != rank:
            raise ArtifactError(
                f"adapter module {path!r} has rank {down.shape[0]} and {up.shape[1]}, the run has {rank}; the checkpoint is another run's"
            )
        pairs[path] = Pair(down=down.contiguous(), up=up.contiguous())
    return pairs


def kohya_sgm(state: Mapping[str, torch.Tensor], alpha: float, rank: int, unet: Mapping[str, Any]) -> Tensors:
    """kohya's layout on sgm's module names, with an `alpha` scalar for each module. `unet` is the U-Net's config."""
    tensors: Tensors = {}
    for path, pair in modules(state, rank).items():
        name = "lora_unet_" + sgm.unet_module(path, unet).replace(".", "_")
        tensors[f"{name}.lora_down.weight"] = pair.down
        tensors[f"{name}.lora_up.weight"] = pair.up
        tensors[f"{name}.alpha"] = torch.tensor(float(alpha), dtype=pair.down.dtype)
    return tensors


def diffusers_layout(state: Mapping[str, torch.Tensor], alpha: float, rank: int) -> tuple[Tensors, dict[str, str]]:
    """diffusers' and PEFT's layout, and the header entries without which a reader would take alpha = rank."""
    pairs = modules(state, rank)
    tensors: Tensors = {}
    for path, pair in pairs.items():
        tensors[f"unet.{path}{_DOWN}"] = pair.down
        tensors[f"unet.{path}{_UP}"] = pair.up
    config = {
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else float(alpha),
        "target_modules": list(pairs),
        "lora_dropout": 0.0,  # dropout acts in training only
        "bias": "none",
    }
    metadata = {f"unet.{key}": value for key, value in config.items()}
    return tensors, {"format": "pt", "lora_adapter_metadata": json.dumps(metadata, sort_keys=True)}
