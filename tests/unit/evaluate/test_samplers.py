"""Every sampler that the schema names is there and follows the run's schedule."""

from __future__ import annotations

import pytest
import torch

from kubetuner.evaluate.core.samplers import SAMPLERS, make
from kubetuner.spec import schema
from kubetuner.v1alpha1.training_run_pb2 import Evaluate

CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
}


def test_schema_and_table_name_the_same() -> None:
    from buf.validate import validate_pb2

    rules = Evaluate.DESCRIPTOR.fields_by_name["sampler"].GetOptions().Extensions[validate_pb2.field]
    assert set(getattr(rules.string, "in")) == set(SAMPLERS)
    assert schema.default(Evaluate.DESCRIPTOR.fields_by_name["sampler"]) in SAMPLERS


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("zero_snr", [False, True])
def test_sampling_begins_where_training_ends(name: str, zero_snr: bool) -> None:
    sampler = make(name, CONFIG, prediction_type="v_prediction", zero_snr=zero_snr)
    sampler.set_timesteps(10)
    assert int(sampler.timesteps[0]) == 999
    assert sampler.config.prediction_type == "v_prediction"
    assert (float(sampler.alphas_cumprod[-1]) < 1e-6) == zero_snr


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_perfect_prediction_leads_to_the_picture(name: str) -> None:
    """With the true noise predicted at each step, every sampler ends at the clean latent."""
    sampler = make(name, CONFIG, prediction_type="epsilon", zero_snr=False)
    sampler.set_timesteps(20)
    clean = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    value = torch.randn(1, 4, 8, 8, generator=generator) * sampler.init_noise_sigma
    takes_generator = name in ("ddim", "ddpm", "euler", "euler-a")
    for timestep in sampler.timesteps:
        seen = sampler.scale_model_input(value, timestep)
        abar = sampler.alphas_cumprod[int(timestep)]
        noise = (seen - abar.sqrt() * clean) / (1 - abar).sqrt()
        value = sampler.step(noise, timestep, value, **({"generator": generator} if takes_generator else {})).prev_sample
    assert (value - clean).abs().max() < 0.1
