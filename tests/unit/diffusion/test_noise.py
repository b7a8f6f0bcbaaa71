"""The forward process and its targets against closed forms and diffusers' own schedulers."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from kubetuner.diffusion.noise import NoiseSchedule

SDXL = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}
CPU = torch.device("cpu")


def schedule(prediction: str = "", *, zero_snr: bool = False) -> NoiseSchedule:
    return NoiseSchedule(SDXL, prediction_type=prediction, zero_snr=zero_snr, device=CPU)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(4, 4, 8, 8, generator=random), torch.randn(4, 4, 8, 8, generator=random), torch.tensor([0, 250, 700, 999])


def test_abar_is_the_product_of_one_minus_scaled_linear_betas() -> None:
    betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
    assert np.allclose(schedule().alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)


def test_zero_terminal_snr_shifts_and_scales_the_root_of_abar() -> None:
    root = np.sqrt(np.cumprod(1 - np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2))
    expected = (root - root[-1]) * root[0] / (root[0] - root[-1])
    found = schedule("v_prediction", zero_snr=True).alphas_cumprod.numpy()
    assert np.allclose(found, expected**2, atol=2e-6)
    assert found[-1] == 0
    assert found[0] == pytest.approx(root[0] ** 2, rel=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_noise_and_target_are_those_of_diffusers(prediction: str) -> None:
    clean, noise, timesteps = batch()
    theirs = DDPMScheduler.from_config({**SDXL, "prediction_type": prediction})
    ours = schedule(prediction)
    assert torch.allclose(ours.add_noise(clean, noise, timesteps), theirs.add_noise(clean, noise, timesteps), atol=1e-6)
    expected = noise if prediction == "epsilon" else theirs.get_velocity(clean, noise, timesteps)
    assert torch.allclose(ours.target(clean, noise, timesteps), expected, atol=1e-6)


def test_the_models_own_prediction_type_is_the_default() -> None:
    config = {**SDXL, "prediction_type": "v_prediction"}
    assert NoiseSchedule(config, prediction_type="", zero_snr=False, device=CPU).prediction_type == "v_prediction"
    assert schedule().prediction_type == "epsilon"


def test_signal_and_target_give_the_clean_latent_back() -> None:
    clean, noise, timesteps = batch()
    ours = schedule("v_prediction")
    noisy = ours.add_noise(clean, noise, timesteps)
    abar = ours.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    assert torch.allclose(abar.sqrt() * noisy - (1 - abar).sqrt() * ours.target(clean, noise, timesteps), clean, atol=1e-5)
