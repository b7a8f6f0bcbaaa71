"""Optimizers: a row in a table each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch

from kubetuner.train.core.adamw_bf16 import AdamWBf16
from kubetuner.v1alpha1.training_run_pb2 import Optimizer

Parameters = Iterable[torch.nn.Parameter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How an optimizer is made, and the type its weights are kept in."""

    make: Callable[[Parameters, Optimizer], torch.optim.Optimizer]
    weights: torch.dtype


def _adamw(parameters: Parameters, spec: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        list(parameters),
        lr=spec.learning_rate,
        betas=(spec.beta1, spec.beta2),
        eps=spec.epsilon,
        weight_decay=spec.weight_decay,
        fused=True,  # one kernel for all weights: on a CPU a sixth of the time that torch's own choice takes for a LoRA's hundreds
    )


def _adamw_bf16(parameters: Parameters, spec: Optimizer) -> torch.optim.Optimizer:
    return AdamWBf16(parameters, lr=spec.learning_rate, betas=(spec.beta1, spec.beta2), eps=spec.epsilon, weight_decay=spec.weight_decay)


TABLE: Final = {
    "adamw": Row(make=_adamw, weights=torch.float32),
    "adamw_bf16": Row(make=_adamw_bf16, weights=torch.bfloat16),
}
