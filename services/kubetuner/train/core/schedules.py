"""The learning rate as a function of the step; the shapes are diffusers' own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers.optimization import get_polynomial_decay_schedule_with_warmup, get_scheduler

from kubetuner.errors import SpecError
from kubetuner.v1alpha1.training_run_pb2 import Optimizer, Schedule


def learning_rate(schedule: Schedule, optimizer: Optimizer, steps: int) -> Callable[[int], float]:
    """The rate of each step, counted from 0, of `steps` in all. It has no state, so a resumed run needs none."""
    base = optimizer.learning_rate
    carrier = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)  # diffusers hands shapes out only bound to an optimizer
    if schedule.type == "polynomial":
        if schedule.end_learning_rate >= base:
            raise SpecError(
                "spec.train.schedule.endLearningRate",
                f"{schedule.end_learning_rate:g} is not below optimizer.learningRate {base:g}; lower it",
            )
        bound = get_polynomial_decay_schedule_with_warmup(
            carrier, schedule.warmup_steps, steps, lr_end=schedule.end_learning_rate, power=schedule.power
        )
    else:
        bound = get_scheduler(
            schedule.type, carrier, num_warmup_steps=schedule.warmup_steps, num_training_steps=steps, num_cycles=schedule.cycles
        )
    shape = bound.lr_lambdas[0]
    return lambda step: base * float(shape(step))
