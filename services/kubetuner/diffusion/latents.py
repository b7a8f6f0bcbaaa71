"""Pictures to latents.

Letters of shapes: B pictures, H x W pixels, C = 4 latent channels, h = H/8, w = W/8. Moments [B, 2, C, h, w] hold the encoder's mean and
standard deviation, so that a fresh sample can be drawn each time a picture is seen.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels_BHWC: np.ndarray) -> torch.Tensor:
    """Moments [B, 2, C, h, w] of pictures given as bytes, in the autoencoder's own type."""
    pixels = torch.from_numpy(pixels_BHWC).to(vae.device, non_blocking=True)
    scaled = pixels.permute(0, 3, 1, 2).to(vae.dtype) / 127.5 - 1.0
    posterior = vae.encode(scaled).latent_dist
    return torch.stack([posterior.mean, posterior.std], dim=1)


def sample(moments: torch.Tensor, noise: torch.Tensor, scaling: float) -> torch.Tensor:
    """A scaled latent [..., C, h, w] in fp32 from moments [..., 2, C, h, w] and normal noise [..., C, h, w]."""
    mean, deviation = moments.float().unbind(dim=-4)
    return (mean + deviation * noise) * scaling


def mean(moments: torch.Tensor, scaling: float) -> torch.Tensor:
    """The scaled mean latent [..., C, h, w] in fp32: no noise of the encoder."""
    return moments.float().select(-4, 0) * scaling
