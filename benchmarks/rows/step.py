"""A training step against a bare loop over the same model, batches and settings."""

from __future__ import annotations

import statistics

from benchmarks import bare, batches
from benchmarks.figures import Figure
from benchmarks.material import Bench, cached
from benchmarks.measure import alternate, watched
from kubetuner.artifacts import checkpoint, objects
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.diffusion.precision import choose_device
from kubetuner.train.core.loop import Loop
from kubetuner.train.core.run import run as train
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

WARM = 3


def measure(bench: Bench) -> list[Figure]:
    """The ratio of a step's time, and how far the two losses are apart: both did the same work."""
    spec = bench.spec(train={"maxSteps": bench.steps + WARM})
    losses: dict[str, list[float]] = {}
    with bench.store() as store:
        ctx = bench.context(store)
        source = cached(spec, ctx)
        shown = batches.collect(spec, source, ctx)
        settings = batches.settings(spec, choose_device(bench.device))

        def ours() -> float:
            seconds, losses["ours"] = _train(spec, source, ctx)
            return seconds

        def alone() -> float:
            seconds, losses["bare"] = bare.loop(bare.Training(bench.model, settings), shown, warm=WARM)
            return seconds

        pairs = alternate(bench.pairs, ours, alone)
    apart = abs(losses["ours"][0] - losses["bare"][0]) / losses["bare"][0]
    return [
        Figure(what="training step, ours to a bare loop's", value=pairs.ratio, at_most=1.03),
        Figure(what="training step, ours", value=statistics.median(pairs.ours) / bench.steps, unit="s"),
        Figure(what="loss of the first step, apart from the bare loop's (same batch, same model)", value=apart, unit=""),
    ]


def _train(spec: TrainingRunSpec, source: ArtifactRef, ctx: StageContext) -> tuple[float, list[float]]:
    """Seconds of the steps after the first WARM, and all losses; the checkpoint is deleted, so that the next call trains again."""
    with watched(Loop, "_step") as steps:
        ref = train(spec, source, ctx)
    index = objects.load(ctx.store, ref)
    losses = [row["loss"] for row in checkpoint.history(ctx.store, ref, index)]
    objects.drop(ctx.store, ref, index)
    for saved in checkpoint.saved(ctx.store, ref.fingerprint):
        objects.drop(ctx.store, saved.ref, saved.index)
    return steps[-1].end - steps[WARM - 1].end, losses
