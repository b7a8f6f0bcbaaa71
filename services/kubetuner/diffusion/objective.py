"""The loss of a batch: how far the prediction is from the target, for each sample. Shapes as in noise.py; all in fp32."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from kubetuner.diffusion.noise import NoiseSchedule
from kubetuner.v1alpha1.training_run_pb2 import Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The loss that a run asks for."""

    schedule: NoiseSchedule
    kind: str = "l2"
    """l2, huber or smooth_l1."""
    huber_c: float = 0.1
    huber_schedule: str = "snr"
    snr_gamma: float = 0.0
    """Gamma of min-SNR weighting; 0 is off."""

    @classmethod
    def of(cls, loss: Loss, schedule: NoiseSchedule) -> Objective:
        """From a resolved spec."""
        return cls(schedule=schedule, kind=loss.type, huber_c=loss.huber_c, huber_schedule=loss.huber_schedule, snr_gamma=loss.snr_gamma)

    def __call__(self, prediction: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Mean over C, h, w for each sample, weighted: [B]."""
        difference = prediction.float() - self.schedule.target(clean, noise, timesteps)
        return self._distance(difference, timesteps).mean(dim=(1, 2, 3)) * self.weights(timesteps)

    def weights(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Min-SNR weights [B]: min(SNR, gamma) / SNR for epsilon, min(SNR, gamma) / (SNR + 1) for v (arXiv 2303.09556, section 3.4)."""
        if self.snr_gamma == 0:
            return torch.ones_like(timesteps, dtype=torch.float32)
        snr = self.schedule.snr(timesteps)
        capped = snr.clamp(max=self.snr_gamma)
        return capped / snr if self.schedule.prediction_type == "epsilon" else capped / (snr + 1)

    def _distance(self, difference: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        if self.kind == "l2":
            return difference.square()
        c = self._c(timesteps).view(-1, 1, 1, 1)
        distance = 2 * ((difference.square() + c.square()).sqrt() - c)
        return c * distance if self.kind == "huber" else distance

    def _c(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Where the distance turns from square to straight, for each sample."""
        if self.huber_schedule == "constant":
            return torch.full_like(timesteps, self.huber_c, dtype=torch.float32)
        if self.huber_schedule == "exponential":
            return torch.exp(math.log(self.huber_c) * timesteps.float() / self.schedule.num_timesteps)
        abar = self.schedule.alphas_cumprod[timesteps]
        # 1 / (1 + sigma) with sigma = sqrt((1 - abar) / abar), multiplied out so that no signal (abar = 0) is no division by zero
        share = abar.sqrt() / (abar.sqrt() + (1 - abar).sqrt())
        return (1 - self.huber_c) * share.square() + self.huber_c
