"""train: show the U-Net its batches, step after step, from the newest saved state to the last step.

run(spec, cache, ctx) -> checkpoint
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel

from kubetuner.artifacts import cache, checkpoint, objects
from kubetuner.artifacts import manifest as manifests
from kubetuner.artifacts.checkpoint import Rotation
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.context import StageContext
from kubetuner.diffusion.load import ModelSource, load_scheduler_config, load_unet, open_model, require_finite
from kubetuner.diffusion.noise import NoiseSchedule
from kubetuner.diffusion.objective import Objective
from kubetuner.diffusion.precision import choose_device, choose_dtype, cost, dtype_name
from kubetuner.errors import TrainingError
from kubetuner.spec.keyed import keyed
from kubetuner.train.core import pace, plan, schedules, sources, trainable
from kubetuner.train.core.average import Average
from kubetuner.train.core.compute import Compute
from kubetuner.train.core.feed import Feed
from kubetuner.train.core.loop import Loop
from kubetuner.train.core.optimizers import TABLE
from kubetuner.train.core.state import State, Writer
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a training takes place."""

    model: ModelSource
    device: torch.device
    dtype: torch.dtype


def run(spec: TrainingRunSpec, source: ArtifactRef | None, ctx: StageContext) -> ArtifactRef:
    """Train to the last step, or find the finished training; an interruption saves the state first."""
    assert source is not None, "train takes a cache"
    device = choose_device(ctx.device)
    setting = Setting(
        model=open_model(spec.model, base=ctx.base, store=ctx.store), device=device, dtype=choose_dtype(spec.train.mixed_precision, device)
    )
    index = objects.load(ctx.store, source)
    training = name(spec, source, setting)
    target = ArtifactRef(noun=checkpoint.NOUN, fingerprint=training)
    finished, gone = checkpoint.find(ctx.store, target)
    if finished is not None and not gone:
        return target
    if warning := cost(spec.train.mixed_precision, device):
        ctx.progress.note(warning)
    compute = Compute(device=device, dtype=setting.dtype, cancelled=ctx.cancelled, note=ctx.progress.note)
    if finished is not None and compute.rank == 0:  # what it names as kept must be there: it goes on from what is left
        ctx.progress.note(f"{gone[0].prefix} of the finished training has gone from the store; the training goes on from what is left")
        objects.drop(ctx.store, target, finished)
    history, kind = _train(spec, index, training, setting, compute, ctx)
    if compute.rank == 0:
        checkpoint.finish(ctx.store, training, _summary(spec, source, training, kind, history, ctx), history)
    compute.wait()  # no rank leaves before the artifact is there
    return target


def name(spec: TrainingRunSpec, source: ArtifactRef, setting: Setting) -> str:
    """Fingerprint of all that decides the trained weights."""
    datasets = [
        {"id": data.id, "repeats": data.repeats, "probability": data.probability, "original": data.original_size} for data in spec.datasets
    ]
    base = [setting.model.digest("unet"), load_scheduler_config(setting.model), dtype_name(setting.dtype)]
    return fingerprint("training", _VERSION, spec.seed, source.fingerprint, keyed(spec.train), spec.embed.vae.sample, datasets, base)


def _train(
    spec: TrainingRunSpec, index: Json, training: str, setting: Setting, compute: Compute, ctx: StageContext
) -> tuple[list[Json], str]:
    """All steps that are left; returns the history of all and the kind of weights."""
    manifest = manifests.read(ctx.store, cache.source(index))
    order = plan.order(spec, manifest)
    steps = plan.total_steps(spec, order)
    unet = _unet(spec, setting)
    trained = trainable.attach(unet, spec.train, spec.seed, TABLE[spec.train.optimizer.type].weights)
    optimizer = compute.prepare(TABLE[spec.train.optimizer.type].make(trained.parameters.values(), spec.train.optimizer))
    average = Average(spec.train.ema, trained.state()) if spec.train.HasField("ema") else None
    state = State(trained, optimizer, average, compute)
    begin = 0
    compute.wait()  # all ranks look before one writes
    if saved := checkpoint.saved(ctx.store, training):
        state.restore(ctx.store, saved[-1])
        begin = saved[-1].step
    compute.wait()
    rotation = Rotation(every=spec.train.checkpoint.every_steps, last=steps, keep=spec.train.checkpoint.keep)
    ctx.progress.start("train", "steps", steps, begin)
    if idle := spec.train.gradient_accumulation_steps % compute.ranks:
        ctx.progress.note(
            f"{spec.train.gradient_accumulation_steps} batches a step on {compute.ranks} devices leave some idle at times ({idle} over); "
            f"set train.gradientAccumulationSteps to a multiple of {compute.ranks}"
        )
    schedule = NoiseSchedule(
        load_scheduler_config(setting.model),
        prediction_type=spec.train.prediction_type,
        zero_snr=spec.train.rescale_betas_zero_snr,
        device=setting.device,
    )
    supplies = sources.open_sources(spec, index, manifest, setting.model, setting.device, ctx)
    loop = Loop(
        spec=spec,
        unet=unet,
        trained=trained,
        optimizer=optimizer,
        average=average,
        state=state,
        compute=compute,
        objective=Objective.of(spec.train.loss, schedule),
        rate=schedules.learning_rate(spec.train.schedule, spec.train.optimizer, steps),
        steps_per_epoch=order.steps_per_epoch(spec.train.gradient_accumulation_steps),
        writer=Writer(ctx.store, training, rotation, rest=pace.FOR_A_STEP_ON_THE_CPU if setting.device.type == "cpu" else 0.0),
        ctx=ctx,
        pictures_of=lambda step: plan.pictures(manifest, order.step(step, spec.train.gradient_accumulation_steps)),
    )
    samples = supplies.samples(spec, manifest, schedule.num_timesteps)
    accumulation = spec.train.gradient_accumulation_steps
    with Feed(order, samples, accumulation=accumulation, steps=range(begin, steps), rank=compute.rank, ranks=compute.ranks) as feed:
        try:
            loop.run(feed, steps)
        except TrainingError:
            require_finite(setting.model, "unet")  # a damaged model is cured otherwise than a learning rate
            raise
    supplies.flush()
    if compute.rank == 0:  # again, for a run that was killed between its last state and this
        checkpoint.rotate(ctx.store, training, rotation)
    return state.history, trained.kind


def _unet(spec: TrainingRunSpec, setting: Setting) -> UNet2DConditionModel:
    """The U-Net: frozen weights in the precision of the computation, trained ones in their optimizer's type."""
    full = spec.train.type == "full"
    dtype = TABLE[spec.train.optimizer.type].weights if full else setting.dtype
    unet = load_unet(setting.model, dtype=dtype, device=setting.device)
    unet.train()
    if spec.train.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return unet


def _summary(spec: TrainingRunSpec, source: ArtifactRef, training: str, kind: str, history: list[Json], ctx: StageContext) -> Json:
    kept = [{"step": saved.step, "fingerprint": saved.ref.fingerprint} for saved in checkpoint.saved(ctx.store, training)]
    lora = spec.train.lora
    adapter = {"rank": lora.rank, "alpha": lora.alpha, "dropout": lora.dropout, "targets": list(lora.targets)}
    return {
        "source": {"noun": source.noun, "fingerprint": source.fingerprint},
        "steps": kept,
        "final": kept[-1]["fingerprint"],
        "weights": kind,
        "adapter": adapter if kind == "adapter" else None,
        "ema": spec.train.HasField("ema"),
        "loss": {"first": history[0]["loss"], "last": history[-1]["loss"]},
    }
