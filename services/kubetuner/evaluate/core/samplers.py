"""Samplers by the names that users know; adding one is a row.

All take trailing timesteps, so that sampling begins at the noise where training ends (Lin et al. 2023, arXiv 2305.08891).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.scheduling_utils import SchedulerMixin

SAMPLERS: Final[dict[str, tuple[type[Any], dict[str, Any]]]] = {
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "ddpm": (DDPMScheduler, {"clip_sample": False}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler-a": (EulerAncestralDiscreteScheduler, {}),
    "unipc": (UniPCMultistepScheduler, {}),
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
}
_BASE: Final = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")


def make(name: str, config: Mapping[str, Any], *, prediction_type: str, zero_snr: bool) -> SchedulerMixin:
    """A sampler on the noise schedule that the model was trained with; `config` is its scheduler_config.json."""
    kind, extra = SAMPLERS[name]
    base = {key: config[key] for key in _BASE if config.get(key) is not None}
    scheduler: SchedulerMixin = kind(
        **base, **extra, prediction_type=prediction_type, timestep_spacing="trailing", rescale_betas_zero_snr=zero_snr
    )
    return scheduler
