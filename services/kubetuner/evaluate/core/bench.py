"""What all measurements of one evaluation share, and the two that there are: a table of losses, and images.

Both are kept in the store by what decides them, so that neither a killed run nor another run over the same base makes one again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

from kubetuner.artifacts import cache, objects
from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.artifacts.pool import Pool
from kubetuner.context import StageContext
from kubetuner.diffusion.encoders import TextEncoder, VaeEncoder
from kubetuner.diffusion.load import ModelSource, load_scheduler_config, load_vae, require_finite
from kubetuner.diffusion.noise import NoiseSchedule
from kubetuner.diffusion.precision import choose_device, choose_dtype, dtype_name
from kubetuner.errors import KubeTunerError
from kubetuner.evaluate.core import images, loss, samplers, samples, shown
from kubetuner.evaluate.core.images import Embedding, Shot
from kubetuner.evaluate.core.loss import Sample
from kubetuner.evaluate.core.shown import Shown
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all measurements of a run share."""

    spec: TrainingRunSpec
    ctx: StageContext
    model: ModelSource
    training: Json
    """Index of the finished training."""
    device: torch.device
    dtype: torch.dtype
    schedule: NoiseSchedule
    rows: Sequence[Sample]
    timesteps: Sequence[int]
    embeddings: dict[str, Embedding]
    texts: Sequence[ArtifactRef]
    """Shards that hold the prompts' embeddings."""
    shown: Shown
    """Pictures of the datasets for the page, decoded and kept."""
    settings: Json
    """What decides an image besides the shot and the weights."""


def set_up(spec: TrainingRunSpec, model: ModelSource, training: Json, embedded: Json, manifest: Manifest, ctx: StageContext) -> Bench:
    """Everything but the U-Net; the encoders are gone when this returns."""
    device = choose_device(ctx.device)
    dtype = choose_dtype(spec.train.mixed_precision, device)
    schedule = NoiseSchedule(
        load_scheduler_config(model), prediction_type=spec.train.prediction_type, zero_snr=spec.train.rescale_betas_zero_snr, device=device
    )
    texts = TextEncoder(model, dtype=choose_dtype("auto", device), device=device)
    vae = VaeEncoder(model, dtype=choose_dtype(spec.embed.vae.precision, device), device=device)
    pictures = shown.choose(spec, manifest, model.digest("vae"))
    shown.keep(pictures, spec, embedded, model, vae, device, ctx)
    prompts = [*spec.evaluate.prompts, *(view.caption for view in pictures.prompts)]
    prompts += [spec.evaluate.negative_prompt] if prompts else []
    pool = Pool(ctx.store, cache.TEXTS, texts.id)
    pool.refresh()
    return Bench(
        spec=spec,
        ctx=ctx,
        model=model,
        training=training,
        device=device,
        dtype=dtype,
        schedule=schedule,
        rows=samples.load_samples(spec, samples.choose_rows(spec, manifest), embedded, texts, vae, ctx),
        timesteps=loss.fixed_timesteps(spec.evaluate.loss.num_timesteps, schedule.num_timesteps),
        embeddings=samples.embed(spec, prompts, pool, texts, ctx),
        texts=pool.holding(map(cache.text_key, prompts)),
        shown=pictures,
        settings=images.sampling(
            spec.evaluate,
            prediction_type=schedule.prediction_type,
            zero_snr=schedule.zero_snr,
            dtype=dtype_name(dtype),
        ),
    )


def start(bench: Bench, num_images: int, weighed: Sequence[object]) -> None:
    """Progress counts passes of the U-Net, the unit that images and losses share; so many images are to be drawn."""
    table = len(bench.rows) * len(bench.timesteps)
    done = table * sum(objects.find(bench.ctx.store, table_ref(bench, weights)) is not None for weights in weighed)
    draws = num_images * bench.settings["steps"]
    bench.ctx.progress.start("evaluate", "passes", table * len(weighed) + draws, done)


def table_ref(bench: Bench, weighed: object) -> ArtifactRef:
    """Name of the table of losses of some weights."""
    objective = [bench.settings["predictionType"], bench.settings["zeroSnr"], bench.settings["precision"]]
    rows = [[row.name, row.held_out, fingerprint(row.time_ids)] for row in bench.rows]
    named = fingerprint("losses", _FORMAT, weighed, objective, rows, bench.timesteps, bench.spec.evaluate.seed)
    return ArtifactRef(noun="losses", fingerprint=named)


def losses(bench: Bench, unet: UNet2DConditionModel, weighed: object) -> np.ndarray:
    """The table of losses of the weights that the U-Net wears, measured once for ever."""
    ref = table_ref(bench, weighed)
    if (found := objects.find(bench.ctx.store, ref)) is not None:
        return np.array(found["losses"]).reshape(len(bench.rows), len(bench.timesteps))
    table = loss.measure(
        unet,
        bench.rows,
        bench.timesteps,
        schedule=bench.schedule,
        seed=bench.spec.evaluate.seed,
        batch_size=bench.spec.train.batch_size,
        ctx=bench.ctx,
    )
    if not np.isfinite(table).all():
        require_finite(bench.model, "unet")
        raise KubeTunerError(
            "the evaluation loss is not finite; set train.mixedPrecision: bf16 or fp32, or lower train.optimizer.learningRate"
        )
    objects.commit(bench.ctx.store, ref, {"format": _FORMAT, "losses": table.tolist()}, {})
    return table


def draw(bench: Bench, unet: UNet2DConditionModel, wanted: dict[ArtifactRef, Shot]) -> None:
    """Draw the wanted images by the weights that the U-Net wears."""
    if not wanted:
        return
    sampler = samplers.make(
        bench.settings["sampler"],
        load_scheduler_config(bench.model),
        prediction_type=bench.schedule.prediction_type,
        zero_snr=bench.schedule.zero_snr,
    )
    vae = load_vae(bench.model, dtype=torch.float32, device=bench.device)  # never overflows, and a few images cost little
    others = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    pipeline = StableDiffusionXLPipeline(unet=unet, vae=vae, scheduler=sampler, add_watermarker=False, **others)
    pipeline.set_progress_bar_config(disable=True)
    images.draw(pipeline, wanted, bench.settings, bench.embeddings, bench.ctx)
