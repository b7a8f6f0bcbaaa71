"""The evaluation loss against the textbook's formula, and what it must not depend on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from kubetuner.context import StageContext
from kubetuner.diffusion.noise import NoiseSchedule
from kubetuner.errors import Interrupted
from kubetuner.evaluate.core.loss import Sample, fixed_noise, fixed_timesteps, measure
from kubetuner.storage.memory import MemoryStore

TIMESTEPS = [125, 625]


@pytest.fixture(scope="module")
def unet(tiny_sdxl: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(tiny_sdxl / "unet").eval()


@pytest.fixture(scope="module")
def config(tiny_sdxl: Path) -> dict[str, object]:
    return json.loads((tiny_sdxl / "scheduler" / "scheduler_config.json").read_text())


def a_sample(unet: UNet2DConditionModel, number: int, *, height: int = 8) -> Sample:
    generator = torch.Generator().manual_seed(number)
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    return Sample(
        name=str(number),
        dataset="photographs",
        held_out=False,
        pixels=f"{number:064x}",
        latents=torch.randn(4, height, 8, generator=generator),
        hidden=torch.randn(77, unet.config.cross_attention_dim, generator=generator),
        pooled=torch.randn(pooled, generator=generator),
        time_ids=(64, 64, 0, 0, 64, 64),
    )


def table(
    unet: UNet2DConditionModel, config: dict[str, object], samples: list[Sample], *, batch_size: int = 2, kind: str = "epsilon"
) -> np.ndarray:
    schedule = NoiseSchedule(config, prediction_type=kind, zero_snr=False, device=torch.device("cpu"))
    return measure(unet, samples, TIMESTEPS, schedule=schedule, seed=7, batch_size=batch_size, ctx=StageContext(store=MemoryStore()))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_loss_is_that_of_a_plain_diffusers_loop(unet: UNet2DConditionModel, config: dict[str, object], kind: str) -> None:
    sample = a_sample(unet, 1)
    scheduler = DDPMScheduler.from_config(config | {"prediction_type": kind})
    expected = []
    for timestep in TIMESTEPS:
        noise, time = fixed_noise(sample, 7, timestep)[None], torch.tensor([timestep])
        conditions = {"text_embeds": sample.pooled[None], "time_ids": torch.tensor([sample.time_ids]).float()}
        noisy = scheduler.add_noise(sample.latents[None], noise, time)
        predicted = unet(noisy, time, sample.hidden[None], added_cond_kwargs=conditions).sample
        target = noise if kind == "epsilon" else scheduler.get_velocity(sample.latents[None], noise, time)
        expected.append(float(torch.nn.functional.mse_loss(predicted, target)))
    assert table(unet, config, [sample], kind=kind)[0] == pytest.approx(expected, rel=1e-4)


def test_a_pictures_loss_depends_on_no_other_picture(unet: UNet2DConditionModel, config: dict[str, object]) -> None:
    samples = [a_sample(unet, number, height=8 if number % 2 else 16) for number in range(5)]
    together = table(unet, config, samples, batch_size=3)
    alone = np.concatenate([table(unet, config, [sample], batch_size=1) for sample in reversed(samples)])[::-1]
    assert together == pytest.approx(alone, rel=1e-4)


def test_a_stop_is_heard(unet: UNet2DConditionModel, config: dict[str, object]) -> None:
    ctx = StageContext(store=MemoryStore())
    ctx.cancelled.set()
    schedule = NoiseSchedule(config, prediction_type="epsilon", zero_snr=False, device=torch.device("cpu"))
    with pytest.raises(Interrupted):
        measure(unet, [a_sample(unet, 1)], TIMESTEPS, schedule=schedule, seed=7, batch_size=1, ctx=ctx)


@pytest.mark.parametrize(("count", "expected"), [(1, [500]), (4, [125, 375, 625, 875]), (1000, list(range(1000)))])
def test_timesteps_are_spread_evenly(count: int, expected: list[int]) -> None:
    assert fixed_timesteps(count) == expected
