"""Evaluation loss: fixed pictures, noise and timesteps, the same for the base model and every checkpoint, so that figures compare.

Plain mean squared error of the prediction, without the training's weighting, dropout and encoder noise. A row's noise is a function of
(seed, its pixels, the timestep), so a figure does not depend on the batch, the device count, or which other rows are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from kubetuner import draws
from kubetuner.context import StageContext
from kubetuner.diffusion.noise import NoiseSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A picture as the U-Net is shown it."""

    name: str
    """Stands for the picture, its crop and its caption."""
    dataset: str
    held_out: bool
    """Whether it was never trained on."""
    pixels: str
    """Hash of the picture; names its noise."""
    latents: torch.Tensor
    """Scaled mean latent [4, h, w], fp32."""
    hidden: torch.Tensor
    """[77, 2048]"""
    pooled: torch.Tensor
    """[1280]"""
    time_ids: tuple[int, ...]
    """SDXL's six numbers."""


def fixed_timesteps(count: int, total: int = 1000) -> list[int]:
    """The middles of `count` equal parts of the schedule, from low noise to high: their mean estimates the mean over all timesteps."""
    return [int((number + 0.5) * total / count) for number in range(count)]


def fixed_noise(sample: Sample, seed: int, timestep: int) -> torch.Tensor:
    """The noise [4, h, w] of a picture at a timestep."""
    numbers = draws.generator(seed, "evaluation", sample.pixels, timestep).standard_normal(tuple(sample.latents.shape), dtype=np.float32)
    return torch.from_numpy(numbers)


@torch.no_grad()
def measure(
    unet: UNet2DConditionModel,
    samples: Sequence[Sample],
    timesteps: Sequence[int],
    *,
    schedule: NoiseSchedule,
    seed: int,
    batch_size: int,
    ctx: StageContext,
) -> np.ndarray:
    """Loss of each picture at each timestep, [samples, timesteps]."""
    table = np.zeros((len(samples), len(timesteps)))
    for rows in _batches(samples, batch_size):
        for column, timestep in enumerate(timesteps):
            ctx.check()
            table[rows, column] = _losses(unet, [samples[row] for row in rows], timestep, schedule, seed)
            ctx.progress.advance(len(rows))
    return table


def _losses(unet: UNet2DConditionModel, batch: Sequence[Sample], timestep: int, schedule: NoiseSchedule, seed: int) -> np.ndarray:
    device, dtype = unet.device, unet.dtype
    latents = torch.stack([sample.latents for sample in batch]).to(device)
    noise = torch.stack([fixed_noise(sample, seed, timestep) for sample in batch]).to(device)
    times = torch.full((len(batch),), timestep, dtype=torch.long, device=device)
    conditions = {
        "text_embeds": torch.stack([sample.pooled for sample in batch]).to(device, dtype),
        "time_ids": torch.tensor([sample.time_ids for sample in batch], dtype=dtype, device=device),
    }
    hidden = torch.stack([sample.hidden for sample in batch]).to(device, dtype)
    noisy = schedule.add_noise(latents, noise, times).to(dtype)
    prediction = unet(noisy, times, hidden, added_cond_kwargs=conditions).sample.float()
    target = schedule.target(latents, noise, times)
    losses: np.ndarray = (prediction - target).square().mean(dim=(1, 2, 3)).cpu().numpy()
    return losses


def _batches(samples: Sequence[Sample], size: int) -> list[list[int]]:
    """Positions of samples of one shape, at most `size` together."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for position, sample in enumerate(samples):
        by_shape.setdefault(tuple(sample.latents.shape), []).append(position)
    return [rows[start : start + size] for rows in by_shape.values() for start in range(0, len(rows), size)]
