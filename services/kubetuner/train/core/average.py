"""Exponential moving average of the trained weights."""

from __future__ import annotations

import torch

from kubetuner.v1alpha1.training_run_pb2 import Ema


class Average:
    """w' = decay w' + (1 - decay) w after every `update_interval` steps; in the first `warmup_steps` it just follows w."""

    def __init__(self, settings: Ema, weights: dict[str, torch.Tensor]) -> None:
        self._settings = settings
        self.weights = {name: weight.detach().clone().float() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, step: int, weights: dict[str, torch.Tensor]) -> None:
        """Take in the weights after `step` steps, counted from 1."""
        if step % self._settings.update_interval:
            return
        new = [weights[name].float() for name in self.weights]
        old = list(self.weights.values())
        if step <= self._settings.warmup_steps:
            torch._foreach_copy_(old, new)
        else:
            torch._foreach_lerp_(old, new, 1 - self._settings.decay)

    @torch.no_grad()
    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Go on from a saved average."""
        for name, weight in self.weights.items():
            weight.copy_(weights[name])
