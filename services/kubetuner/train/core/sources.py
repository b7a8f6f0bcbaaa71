"""Opens what a training reads: the pools of the cache, or the encoders where a mode leaves the encoding to the training."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kubetuner.artifacts import cache
from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.objects import Json
from kubetuner.context import StageContext
from kubetuner.diffusion.encoders import TextEncoder, VaeEncoder
from kubetuner.diffusion.load import ModelSource
from kubetuner.diffusion.pictures import Pictures
from kubetuner.diffusion.precision import choose_dtype
from kubetuner.train.core import timesteps
from kubetuner.train.core.samples import Samples
from kubetuner.train.core.supply import CachedLatents, CachedTexts, Kept, LatentSupply, MadeLatents, MadeTexts, TextSupply
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Latents and texts of a training."""

    latents: LatentSupply
    texts: TextSupply
    made: tuple[Kept, ...]

    def samples(self, spec: TrainingRunSpec, manifest: Manifest, num_timesteps: int) -> Samples:
        """Draws samples from the manifest's rows."""
        return Samples(spec, manifest.table, self.latents, self.texts, timesteps.sampler(spec.train.timesteps, num_timesteps))

    def flush(self) -> None:
        """Keep what was made on demand and is not written yet."""
        for kept in self.made:
            kept.flush()


def open_sources(
    spec: TrainingRunSpec, index: Json, manifest: Manifest, model: ModelSource, device: torch.device, ctx: StageContext
) -> Sources:
    """Cached items by default; encoders are loaded only in the modes on-demand and disabled."""
    made: list[Kept] = []
    vae = VaeEncoder(model, dtype=choose_dtype(spec.embed.vae.precision, device), device=device)
    latents: LatentSupply
    texts: TextSupply
    if index["modes"][cache.LATENTS] == "eager":
        latents = CachedLatents(cache.open_pool(ctx.store, index, cache.LATENTS), vae.scaling)
    else:
        kept = Kept(cache.open_pool(ctx.store, index, cache.LATENTS), keep=index["modes"][cache.LATENTS] == "on-demand")
        latents = MadeLatents(kept, vae, Pictures(spec.datasets, ctx.base, ctx.store), ctx)
        made.append(kept)
    if index["modes"][cache.TEXTS] == "eager":
        texts = CachedTexts(cache.open_pool(ctx.store, index, cache.TEXTS))
    else:
        kept = Kept(cache.open_pool(ctx.store, index, cache.TEXTS), keep=index["modes"][cache.TEXTS] == "on-demand")
        texts = MadeTexts(kept, TextEncoder(model, dtype=choose_dtype("auto", device), device=device), ctx)
        made.append(kept)
    return Sources(latents=latents, texts=texts, made=tuple(made))
