"""The batches that our training shows its U-Net, for a bare loop to train on the very same."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.bare import Settings, Tensors
from kubetuner.artifacts import cache, objects
from kubetuner.artifacts import manifest as manifests
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.diffusion.load import open_model
from kubetuner.diffusion.precision import choose_device, choose_dtype
from kubetuner.train.core import plan, sources
from kubetuner.train.core.feed import Feed
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec


def collect(spec: TrainingRunSpec, source: ArtifactRef, ctx: StageContext) -> list[Tensors]:
    """Those of all steps, which have one batch each, in memory."""
    index = objects.load(ctx.store, source)
    manifest = manifests.read(ctx.store, cache.source(index))
    order = plan.order(spec, manifest)
    supplies = sources.open_sources(spec, index, manifest, open_model(spec.model, base=ctx.base), choose_device(ctx.device), ctx)
    samples = supplies.samples(spec, manifest, 1000)
    names = ("clean", "noise", "timesteps", "hidden", "pooled", "time_ids")
    with Feed(order, samples, accumulation=1, steps=range(plan.total_steps(spec, order)), rank=0, ranks=1) as feed:
        return [{name: getattr(batch, name) for name in names} for _, (batch,) in feed]


def keep(batches: list[Tensors], path: Path) -> None:
    """Write batches to a file, for another process."""
    save_file({f"{number:06d}.{name}": tensor for number, batch in enumerate(batches) for name, tensor in batch.items()}, path)


def settings(spec: TrainingRunSpec, device: torch.device) -> Settings:
    """What a bare loop needs to train as the spec says."""
    train = spec.train
    return Settings(
        rank=train.lora.rank,
        alpha=train.lora.alpha,
        learning_rate=train.optimizer.learning_rate,
        weight_decay=train.optimizer.weight_decay,
        epsilon=train.optimizer.epsilon,
        max_grad_norm=train.max_grad_norm,
        gradient_checkpointing=train.gradient_checkpointing,
        dtype=choose_dtype(train.mixed_precision, device),
        device=device,
    )
