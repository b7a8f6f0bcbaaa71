"""The loss against closed forms and diffusers' own weighting."""

import math

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from kubetuner.diffusion.objective import Objective
from tests.unit.diffusion.test_noise import SDXL, batch, schedule


def test_l2_is_the_mean_square_of_each_sample() -> None:
    clean, noise, timesteps = batch()
    prediction = torch.zeros_like(noise)
    found = Objective(schedule=schedule())(prediction, clean, noise, timesteps)
    assert torch.allclose(found, noise.square().mean(dim=(1, 2, 3)))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_weights_are_those_of_diffusers_examples(prediction: str) -> None:
    timesteps = torch.arange(0, 1000, 37)
    snr = compute_snr(DDPMScheduler.from_config(SDXL), timesteps)
    capped = torch.stack([snr, 5.0 * torch.ones_like(timesteps)], dim=1).min(dim=1)[0]
    expected = capped / snr if prediction == "epsilon" else capped / (snr + 1)
    assert torch.allclose(Objective(schedule=schedule(prediction), snr_gamma=5.0).weights(timesteps), expected, rtol=1e-4)


def test_min_snr_of_v_prediction_bears_a_timestep_without_signal() -> None:
    weights = Objective(schedule=schedule("v_prediction", zero_snr=True), snr_gamma=5.0).weights(torch.tensor([0, 999]))
    assert torch.isfinite(weights).all()
    assert weights[1] == 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("huber", lambda d, c: 2 * c * (math.sqrt(d * d + c * c) - c)), ("smooth_l1", lambda d, c: 2 * (math.sqrt(d * d + c * c) - c))],
)
@pytest.mark.parametrize("difference", [0.0, 0.05, 3.0])
def test_robust_distances_follow_their_formulas(kind: str, expected, difference: float) -> None:  # noqa: ANN001 (a formula of the table)
    clean, noise, timesteps = batch()
    objective = Objective(schedule=schedule(), kind=kind, huber_c=0.1, huber_schedule="constant")
    found = objective(noise + difference, clean, noise, timesteps)
    assert torch.allclose(found, torch.full((4,), expected(difference, 0.1)), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "timestep", "expected"),
    [
        ("exponential", 0, 1.0),
        ("exponential", 500, math.exp(math.log(0.1) * 0.5)),
        ("snr", 0, 0.9 / (1 + math.sqrt(0.00085 / (1 - 0.00085))) ** 2 + 0.1),
    ],
)
def test_the_width_of_huber_follows_its_schedule(name: str, timestep: int, expected: float) -> None:
    objective = Objective(schedule=schedule(), kind="huber", huber_c=0.1, huber_schedule=name)
    assert objective._c(torch.tensor([timestep])).item() == pytest.approx(expected, rel=1e-4)


def test_the_width_by_snr_ends_at_huber_c_where_no_signal_is_left() -> None:
    objective = Objective(schedule=schedule("v_prediction", zero_snr=True), kind="huber", huber_c=0.1)
    assert objective._c(torch.tensor([999])).item() == pytest.approx(0.1)
