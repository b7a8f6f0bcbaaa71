"""Batches ready for the device, made ahead of the step by a thread.

Letters of shapes: B samples, C = 4 latent channels, h x w latent size, T = 77 tokens, D = 2048 text channels, P = 1280 pooled.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import torch

from kubetuner.diffusion import latents
from kubetuner.diffusion.threads import start_beside
from kubetuner.train.core.order import Order, Sample
from kubetuner.train.core.samples import Samples

_AHEAD: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What the U-Net and the loss need for B samples of one size."""

    clean: torch.Tensor
    """Latents [B, C, h, w]."""
    noise: torch.Tensor
    """The target's noise [B, C, h, w]."""
    seen_noise: torch.Tensor
    """The noise that the U-Net's input is made with; another than `noise` only under input perturbation [B, C, h, w]."""
    timesteps: torch.Tensor
    """[B]."""
    hidden: torch.Tensor
    """Text embeddings [B, T, D]."""
    pooled: torch.Tensor
    """Pooled text embeddings [B, P]."""
    time_ids: torch.Tensor
    """Micro-conditioning [B, 6]."""
    share: float
    """This batch's share of the samples of its optimizer step."""
    number: int
    """Number of the batch within its step."""

    def to(self, device: torch.device) -> Self:
        """The batch on a device, without waiting for the copy."""
        if device.type == "cpu":
            return self
        moved = {
            field.name: value.pin_memory().to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for field in fields(self)
            for value in [getattr(self, field.name)]
        }
        return type(self)(**moved)


class Feed:
    """The batches of this rank, step after step. Use as a context: leaving it ends the thread."""

    def __init__(self, order: Order, samples: Samples, *, accumulation: int, steps: range, rank: int, ranks: int) -> None:
        self._order, self._samples, self._accumulation = order, samples, accumulation
        self._steps, self._rank, self._ranks = steps, rank, ranks
        self._ready: queue.Queue[list[Batch] | BaseException] = queue.Queue(_AHEAD)
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._thread = start_beside(self._produce, "feed")
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def __iter__(self) -> Iterator[tuple[int, list[Batch]]]:
        """Each step's number, counted from 0, with its batches."""
        for step in self._steps:
            ready = self._ready.get()
            if isinstance(ready, BaseException):
                raise ready
            yield step, ready

    def _produce(self) -> None:
        try:
            for step in self._steps:
                if not self._offer(self._batches(step)):
                    return
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is the loop's to raise)
            self._offer(error)

    def _offer(self, value: list[Batch] | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(value, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _batches(self, step: int) -> list[Batch]:
        """This rank's batches of a step: every `ranks`-th, so that the run is the same on any number of ranks."""
        plan = self._order.step(step, self._accumulation)
        total = sum(map(len, plan))
        return [self._collate(plan[number], number, len(plan[number]) / total) for number in range(self._rank, len(plan), self._ranks)]

    def _collate(self, samples: Sequence[Sample], number: int, share: float) -> Batch:
        drawn = [self._samples.draw(sample) for sample in samples]
        noise = _stack([one.noise for one in drawn])
        perturbed = any(one.perturbation is not None for one in drawn)
        seen = noise + _stack([one.perturbation for one in drawn if one.perturbation is not None]) if perturbed else noise
        moments = torch.stack([one.moments for one in drawn])
        return Batch(
            clean=latents.sample(moments, _stack([one.vae_noise for one in drawn]), self._samples.scaling),
            noise=noise,
            seen_noise=seen,
            timesteps=torch.tensor([one.timestep for one in drawn]),
            hidden=torch.stack([one.hidden for one in drawn]),
            pooled=torch.stack([one.pooled for one in drawn]),
            time_ids=torch.tensor([one.time_ids for one in drawn], dtype=torch.float32),
            share=share,
            number=number,
        )


def _stack(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays))
