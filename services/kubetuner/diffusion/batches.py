"""How many batches, steps and epochs a dataset makes: arithmetic over counts that inspection and training share.

Pictures are batched within a group, which is one dataset and one target size. An epoch passes every group `repeats` + 1 times.
"""

from __future__ import annotations

import math
from typing import Final

REMAINDERS: Final = ("keep", "fill", "drop")
"""What becomes of the last samples of a group that do not fill a batch; see the schema's Train.remainder."""

MAX_BATCHES: Final = 1 << 27
"""Most batches of an epoch: their order takes about 60 bytes each in memory."""
MAX_STEPS: Final = 100_000_000
"""Most optimizer steps of a run, as in the schema's Train.maxSteps."""


def group_samples(pictures: int, *, repeats: int) -> int:
    """Samples that a group gives in an epoch."""
    return pictures * (repeats + 1)


def group_batches(pictures: int, *, repeats: int, batch_size: int, remainder: str) -> int:
    """Batches that a group gives in an epoch."""
    assert remainder in REMAINDERS, remainder
    samples = group_samples(pictures, repeats=repeats)
    return samples // batch_size if remainder == "drop" else math.ceil(samples / batch_size)


def fills_batch(pictures: int, *, repeats: int, batch_size: int) -> bool:
    """Whether a group fills one batch without a picture twice for want of others."""
    return group_samples(pictures, repeats=repeats) >= batch_size


def repeats_to_fill(pictures: int, *, batch_size: int) -> int:
    """The least `repeats` with which a group fills a batch."""
    return max(0, math.ceil(batch_size / pictures) - 1)


def steps_per_epoch(batches: int, *, accumulation: int) -> int:
    """Optimizer steps of an epoch: the last one may be made of fewer batches."""
    return math.ceil(batches / accumulation)


def total_steps(steps_in_epoch: int, *, max_steps: int | None, epochs: int | None) -> int:
    """Optimizer steps of a run, which is long by steps or by epochs."""
    assert (max_steps is None) != (epochs is None), "exactly one of maxSteps and epochs"
    return max_steps if max_steps is not None else steps_in_epoch * (epochs or 0)


def total_epochs(steps: int, *, steps_in_epoch: int) -> float:
    """Passes over the data that the steps make."""
    return steps / steps_in_epoch if steps_in_epoch else 0.0


def too_long(batches: int, steps: int) -> tuple[str, str] | None:
    """What is too much of a run that is too long, and the cure; None where it is not."""
    if batches > MAX_BATCHES:
        return f"an epoch has {batches} batches, at most {MAX_BATCHES} can be ordered", "lower repeats of the datasets, or raise batchSize"
    if steps > MAX_STEPS:
        return f"the run has {steps} steps, at most {MAX_STEPS} are trained", "lower epochs, or repeats of the datasets"
    return None
