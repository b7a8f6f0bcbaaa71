"""Which timestep a sample is shown at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kubetuner.errors import SpecError
from kubetuner.v1alpha1.training_run_pb2 import Timesteps


def weights(spec: Timesteps, num_timesteps: int) -> np.ndarray:
    """Probability of each timestep, low noise first [num_timesteps].

    The bias acts over the whole draw, not within parts of it as SimpleTuner's does.
    """
    weight = np.ones(num_timesteps)
    chosen = round(spec.bias_portion * num_timesteps)
    span = {
        "none": slice(0, 0),
        "low_noise": slice(0, chosen),
        "high_noise": slice(num_timesteps - chosen, num_timesteps),
        "range": slice(spec.bias_begin, spec.bias_end),
    }[spec.bias_strategy]
    weight[span] *= spec.bias_multiplier
    if weight.sum() == 0:
        raise SpecError("spec.train.timesteps.biasMultiplier", "0 for all timesteps leaves none to train on; narrow biasBegin to biasEnd")
    return weight / weight.sum()


def sampler(spec: Timesteps, num_timesteps: int) -> Callable[[float], int]:
    """From a uniform number in [0, 1) to a timestep, by the inverse of the cumulative weights."""
    cumulative = np.cumsum(weights(spec, num_timesteps))
    cumulative[-1] = 1.0  # against rounding
    return lambda uniform: int(np.searchsorted(cumulative, uniform, side="right"))
