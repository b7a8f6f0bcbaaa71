"""One showing of one picture: its latent, its caption's embedding, and all that is drawn for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
import torch

from kubetuner.diffusion.conditioning import Geometry
from kubetuner.diffusion.pictures import geometry, key_of
from kubetuner.train.core.order import Sample
from kubetuner.train.core.supply import LatentSupply, TextSupply
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

_COLUMNS: Final = ("dataset", "path", "sha256", "pixels", "captions", *Geometry.__dataclass_fields__)
_TEXTS_HELD: Final = 128
"""SDXL's embedding of a caption has 0.3 MB in bf16 and twice that in fp32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a sample brings to its batch; shapes as in feed.py without B."""

    moments: torch.Tensor
    vae_noise: np.ndarray
    noise: np.ndarray
    perturbation: np.ndarray | None
    timestep: int
    hidden: torch.Tensor
    pooled: torch.Tensor
    time_ids: tuple[int, ...]


class Samples:
    """Draws samples from the rows of a manifest; every number is a function of the seed and the showing."""

    def __init__(
        self, spec: TrainingRunSpec, table: pa.Table, latents: LatentSupply, texts: TextSupply, timestep: Callable[[float], int]
    ) -> None:
        self._seed = spec.seed
        self._train = spec.train
        self._sample_once = spec.embed.vae.sample == "once"
        self._original = {dataset.id: dataset.original_size for dataset in spec.datasets}
        self._columns = {name: table[name] for name in _COLUMNS}
        self._latents, self._texts, self._timestep = latents, texts, timestep
        self._text = lru_cache(maxsize=_TEXTS_HELD)(texts.get)
        self.scaling = latents.scaling

    def draw(self, sample: Sample) -> Drawn:
        """Everything random about one showing of a picture, and its encodings."""
        row = {name: column[sample.row].as_py() for name, column in self._columns.items()}
        moments = self._latents.get(key_of(row), row)
        shape = moments.shape[1:]
        dropped = self._random(sample, "dropout").random() < self._train.caption_dropout_probability
        captions = row["captions"]
        caption = "" if dropped else captions[int(self._random(sample, "caption").integers(len(captions)))]
        hidden, pooled = self._text(caption)
        time_ids = geometry(row).time_ids(self._original[row["dataset"]])
        if dropped and self._train.caption_dropout_time_ids:
            time_ids = (0, 0, 0, 0, 0, 0)
        first_showing = Sample(row=sample.row, epoch=0, turn=0)
        return Drawn(
            moments=moments,
            vae_noise=_normal(self._random(first_showing if self._sample_once else sample, "latent"), shape),
            noise=self._noise(sample, shape),
            perturbation=self._perturbation(sample, shape),
            timestep=self._timestep(self._random(sample, "timestep").random()),
            hidden=hidden,
            pooled=pooled,
            time_ids=time_ids,
        )

    def _noise(self, sample: Sample, shape: torch.Size) -> np.ndarray:
        noise = _normal(self._random(sample, "noise"), shape)
        settings = self._train.noise
        if settings.offset > 0:
            random = self._random(sample, "noise offset")
            if random.random() < settings.offset_probability:
                noise += np.float32(settings.offset) * _normal(random, torch.Size([shape[0], 1, 1]))
        return noise

    def _perturbation(self, sample: Sample, shape: torch.Size) -> np.ndarray | None:
        strength = self._train.noise.input_perturbation
        return np.float32(strength) * _normal(self._random(sample, "perturbation"), shape) if strength > 0 else None

    def _random(self, sample: Sample, purpose: str) -> np.random.Generator:
        return sample.generator(self._seed, purpose)


def _normal(random: np.random.Generator, shape: torch.Size) -> np.ndarray:
    return random.standard_normal(tuple(shape), dtype=np.float32)
