"""The forward process of diffusion and what the U-Net has to predict.

Notation: abar = cumulative product of alphas, z0 a clean latent, eps normal noise, x_t = sqrt(abar) z0 + sqrt(1 - abar) eps
(Ho et al. 2020, arXiv 2006.11239). Latents are [B, C, h, w], timesteps [B].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDPMScheduler


class NoiseSchedule:
    """abar of each timestep on a device, and what follows from it."""

    def __init__(self, config: Mapping[str, Any], *, prediction_type: str, zero_snr: bool, device: torch.device) -> None:
        """`config` is the model's scheduler_config.json; an empty `prediction_type` takes the config's."""
        self.prediction_type = prediction_type or str(config.get("prediction_type", "epsilon"))
        self.zero_snr = zero_snr
        scheduler = DDPMScheduler.from_config(
            {
                "num_train_timesteps": config.get("num_train_timesteps", 1000),
                "beta_start": config["beta_start"],
                "beta_end": config["beta_end"],
                "beta_schedule": config["beta_schedule"],
                "trained_betas": config.get("trained_betas"),
                "rescale_betas_zero_snr": zero_snr,
            }
        )
        self.alphas_cumprod: torch.Tensor = scheduler.alphas_cumprod.to(device)

    @property
    def num_timesteps(self) -> int:
        """How many timesteps there are: 1000 for SDXL."""
        return len(self.alphas_cumprod)

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """x_t."""
        abar = self._at(timesteps)
        return abar.sqrt() * clean + (1 - abar).sqrt() * noise

    def target(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """eps, or v = sqrt(abar) eps - sqrt(1 - abar) z0 (Salimans and Ho 2022, arXiv 2202.00512)."""
        if self.prediction_type == "epsilon":
            return noise
        abar = self._at(timesteps)
        return abar.sqrt() * noise - (1 - abar).sqrt() * clean

    def snr(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Signal-to-noise ratio abar / (1 - abar) [B]."""
        abar = self.alphas_cumprod[timesteps]
        return abar / (1 - abar)

    def _at(self, timesteps: torch.Tensor) -> torch.Tensor:
        return self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
