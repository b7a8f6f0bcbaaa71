"""Timesteps, schedules, averages and optimizers against closed forms and torch's own."""

import math

import numpy as np
import pytest
import torch

from kubetuner.errors import SpecError
from kubetuner.train.core import schedules, timesteps
from kubetuner.train.core.average import Average
from kubetuner.train.core.optimizers import TABLE
from kubetuner.v1alpha1.training_run_pb2 import Ema, Optimizer, Schedule, Timesteps

ADAMW = Optimizer(learning_rate=0.01, beta1=0.9, beta2=0.99, epsilon=1e-8, weight_decay=0.1)


def spread(**fields) -> Timesteps:  # noqa: ANN003 (fields of the message)
    return Timesteps(**{"bias_strategy": "none", "bias_multiplier": 1.0, "bias_portion": 0.25, "bias_begin": 0, "bias_end": 1000, **fields})


def test_uniform_timesteps_are_all_drawn_alike() -> None:
    draw = timesteps.sampler(spread(), 1000)
    drawn = [draw(uniform) for uniform in (np.arange(10_000) + 0.5) / 10_000]
    assert np.bincount(drawn, minlength=1000).tolist() == [10] * 1000


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({"bias_strategy": "low_noise"}, slice(0, 250)),
        ({"bias_strategy": "high_noise"}, slice(750, 1000)),
        ({"bias_strategy": "range", "bias_begin": 100, "bias_end": 350}, slice(100, 350)),
    ],
)
def test_a_bias_multiplies_the_weight_of_what_it_chooses(fields: dict, chosen: slice) -> None:
    weight = timesteps.weights(spread(bias_multiplier=3.0, **fields), 1000)
    assert weight[chosen].sum() == pytest.approx(3 * 250 / (3 * 250 + 750))
    assert weight.sum() == pytest.approx(1)


def test_a_multiplier_of_zero_never_draws() -> None:
    draw = timesteps.sampler(spread(bias_strategy="high_noise", bias_multiplier=0.0), 1000)
    assert max(draw(uniform) for uniform in np.linspace(0, 1, 5001)[:-1]) == 749
    with pytest.raises(SpecError, match="biasMultiplier"):
        timesteps.weights(spread(bias_strategy="range", bias_multiplier=0.0), 1000)


def rate(step: int, steps: int = 100, **fields) -> float:  # noqa: ANN003 (fields of the message)
    spec = Schedule(**{"type": "constant_with_warmup", "warmup_steps": 0, "power": 1.0, "end_learning_rate": 0.0, "cycles": 1, **fields})
    return schedules.learning_rate(spec, Optimizer(learning_rate=0.1), steps)(step)


@pytest.mark.parametrize(
    ("fields", "step", "expected"),
    [
        ({"type": "constant"}, 57, 0.1),
        ({"warmup_steps": 10}, 5, 0.05),
        ({"warmup_steps": 10}, 10, 0.1),
        ({"type": "linear"}, 25, 0.075),
        ({"type": "linear", "warmup_steps": 20}, 60, 0.05),
        ({"type": "cosine"}, 25, 0.05 * (1 + math.cos(math.pi / 4))),
        ({"type": "cosine", "warmup_steps": 20}, 60, 0.05),
        ({"type": "cosine_with_restarts", "cycles": 4}, 25, 0.1),
        ({"type": "polynomial", "power": 2.0, "end_learning_rate": 0.02}, 50, 0.08 * 0.25 + 0.02),
    ],
)
def test_the_learning_rate_follows_its_formula(fields: dict, step: int, expected: float) -> None:
    assert rate(step, **fields) == pytest.approx(expected)


def test_an_end_above_the_start_is_refused() -> None:
    with pytest.raises(SpecError, match="endLearningRate"):
        rate(0, type="polynomial", end_learning_rate=0.1)


def test_an_average_follows_its_closed_form() -> None:
    average = Average(Ema(decay=0.9, update_interval=2, warmup_steps=4), {"w": torch.tensor([0.0])})
    expected = 0.0
    for step in range(1, 13):
        average.update(step, {"w": torch.tensor([float(step)])})
        if step % 2 == 0:
            expected = step if step <= 4 else 0.9 * expected + 0.1 * step
    assert average.weights["w"].item() == pytest.approx(expected, rel=1e-6)


def minimise(name: str, steps: int, start: torch.Tensor) -> torch.Tensor:
    weight = torch.nn.Parameter(start.clone().to(TABLE[name].weights))
    optimizer = TABLE[name].make([weight], ADAMW)
    target = torch.linspace(-1, 1, start.numel())
    for _ in range(steps):
        loss = (weight.float() - target).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return weight.detach().float()


def test_adamw_is_torchs_own() -> None:
    start = torch.randn(16, generator=torch.Generator().manual_seed(0))
    weight = torch.nn.Parameter(start.clone())
    theirs = torch.optim.AdamW([weight], lr=0.01, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
    for _ in range(5):
        (weight - torch.linspace(-1, 1, 16)).square().sum().backward()
        theirs.step()
        theirs.zero_grad()
    assert torch.allclose(minimise("adamw", 5, start), weight.detach(), atol=1e-7)


def test_bf16_with_kahan_summation_keeps_updates_that_rounding_would_lose() -> None:
    """At a weight of 256 the next bf16 number is 2 away: steps of 0.01 vanish without the compensation."""
    start = torch.full((8,), 256.0)
    lost = start.to(torch.bfloat16)
    for _ in range(300):
        lost = lost - torch.tensor(0.01, dtype=torch.bfloat16)
    assert torch.equal(lost.float(), start)
    weight = torch.nn.Parameter(start.to(torch.bfloat16))
    optimizer = TABLE["adamw_bf16"].make([weight], Optimizer(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8))
    for _ in range(300):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    exact = weight.detach().float() + optimizer.state[weight]["rest"].float()
    assert torch.allclose(exact, start - 3.0, atol=0.1)
    assert torch.equal(weight.detach(), exact.to(torch.bfloat16))


def test_bf16_keeps_small_changes_of_squared_gradients() -> None:
    weight = torch.nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
    optimizer = TABLE["adamw_bf16"].make([weight], Optimizer(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8))
    for _ in range(2000):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert torch.allclose(optimizer.state[weight]["square"], torch.full((4,), 1 - 0.999**2000), rtol=1e-4)


def test_bf16_ends_near_fp32() -> None:
    start = torch.randn(16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(minimise("adamw_bf16", 200, start), minimise("adamw", 200, start), atol=0.01)
