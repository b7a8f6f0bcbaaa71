"""Which pictures make which batch: a function of the seed and the batch's number, on any number of devices.

An epoch shows every picture (repeats + 1) times. A batch is of one dataset and one size. The order is a keyed permutation, computed on
the fly; all that a resumed run needs to know of it is the number of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kubetuner import draws
from kubetuner.diffusion import batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One showing of a picture; names all random draws that belong to it."""

    row: int
    """Row of the manifest."""
    epoch: int
    """Counted from 0."""
    turn: int
    """Which of the showings in this epoch, counted from 0."""

    def generator(self, seed: int, purpose: str) -> np.random.Generator:
        """The generator of one draw for this showing."""
        return draws.generator(seed, purpose, self.row, self.epoch, self.turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A dataset as the order sees it."""

    id: str
    groups: tuple[np.ndarray, ...]
    """Rows of the manifest of each size."""
    repeats: int = 0
    probability: float = 1.0


class Order:
    """The batches of all epochs."""

    def __init__(self, collections: Sequence[Collection], *, seed: int, batch_size: int, remainder: str) -> None:
        self._collections = tuple(collections)
        self._seed = seed
        self._batch_size = batch_size
        self._remainder = remainder
        # For each dataset the number of the first batch of each group, and after the last group the number of all batches.
        self._starts = tuple(np.cumsum([0, *(self._count(len(rows), data.repeats) for rows in data.groups)]) for data in self._collections)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of all datasets together."""
        return int(sum(starts[-1] for starts in self._starts))

    def steps_per_epoch(self, accumulation: int) -> int:
        """Optimizer steps in an epoch; the last one may have fewer batches, none crosses into the next epoch."""
        return batches.steps_per_epoch(self.batches_per_epoch, accumulation=accumulation)

    def step(self, step: int, accumulation: int) -> list[list[Sample]]:
        """The batches of an optimizer step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch(accumulation))
        first = position * accumulation
        return [self.batch(epoch, number) for number in range(first, min(first + accumulation, self.batches_per_epoch))]

    def batch(self, epoch: int, number: int) -> list[Sample]:
        """A batch of an epoch, both counted from 0."""
        choices, ranks = self._interleaving(epoch)
        dataset = int(choices[number])
        starts = self._starts[dataset]
        batch = draws.permute(int(ranks[number]), int(starts[-1]), self._seed, "batches", epoch, self._collections[dataset].id)
        group = int(np.searchsorted(starts, batch, side="right")) - 1
        return self._members(epoch, dataset, group, batch - int(starts[group]))

    def _count(self, pictures: int, repeats: int) -> int:
        return batches.group_batches(pictures, repeats=repeats, batch_size=self._batch_size, remainder=self._remainder)

    def _members(self, epoch: int, dataset: int, group: int, batch: int) -> list[Sample]:
        data = self._collections[dataset]
        rows = data.groups[group]
        count = len(rows)
        first = batch * self._batch_size
        last = first + self._batch_size
        if self._remainder != "fill":
            last = min(last, count * (data.repeats + 1))
        samples = []
        for position in range(first, last):
            turn, index = divmod(position, count)
            place = draws.permute(index, count, self._seed, "pictures", epoch, data.id, group, turn)
            samples.append(Sample(row=int(rows[place]), epoch=epoch, turn=turn))
        return samples

    @lru_cache(maxsize=2)  # noqa: B019 (one Order a training; an epoch's draw is asked for batch by batch)
    def _interleaving(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """For each batch of the epoch: of which dataset it is, and the how manieth of it.

        Each draw chooses a dataset with its probability times its number of batches; a dataset that is used up leaves the draw.
        """
        left = np.array([int(starts[-1]) for starts in self._starts])
        weights = np.array([data.probability for data in self._collections]) * left
        random = draws.generator(self._seed, "datasets", epoch).random(int(left.sum()))
        parts: list[np.ndarray] = []
        begin = 0
        while (left > 0).any():
            shares = np.cumsum(np.where(left > 0, weights, 0.0))
            drawn = np.searchsorted(shares / shares[-1], random[begin:], side="right")
            used = np.stack([np.cumsum(drawn == dataset) for dataset in range(len(left))])
            over = (used >= left[:, None]) & (left[:, None] > 0)
            stop = int(over.any(axis=0).argmax()) + 1  # up to and with the draw that uses up a dataset
            parts.append(drawn[:stop])
            left = left - used[:, stop - 1]
            begin += stop
        choices = np.concatenate(parts)
        ranks = np.empty_like(choices)
        for dataset in range(len(left)):
            mine = choices == dataset
            ranks[mine] = np.arange(mine.sum())
        return choices, ranks
