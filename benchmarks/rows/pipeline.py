"""The whole pipeline on a cold store against diffusers' shape of work, which encodes in each step: same model, steps and batches."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import bare, batches
from benchmarks.figures import Figure
from benchmarks.material import Bench, cached
from benchmarks.measure import alternate, seconds
from kubetuner.diffusion.precision import choose_device
from kubetuner.train.core.run import run as train
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

_EPOCHS = (1, 3)


def measure(bench: Bench) -> list[Figure]:
    """Images a second, both from loading the models to the last step."""
    paths = sorted(path for path in bench.photographs.iterdir() if path.is_file())
    figures = []
    for epochs in _EPOCHS:
        steps = math.ceil(len(paths) / bench.batch_size) * epochs
        spec = bench.spec(train={"maxSteps": steps})
        pairs = alternate(min(bench.pairs, 3), partial(_ours, bench, spec), partial(_alone, bench, spec, paths, steps))
        shown = steps * bench.batch_size
        passes = "1 epoch" if epochs == 1 else f"{epochs} epochs"
        figures += [
            Figure(what=f"whole pipeline on a cold store, {passes}, images/s, ours to encoding in the step", value=1 / pairs.ratio),
            Figure(what=f"whole pipeline, {passes}, ours", value=shown / statistics.median(pairs.ours), unit="images/s"),
        ]
    return figures


def _ours(bench: Bench, spec: TrainingRunSpec) -> float:
    with bench.store() as store:
        ctx = bench.context(store)
        return seconds(lambda: train(spec, cached(spec, ctx), ctx))


def _alone(bench: Bench, spec: TrainingRunSpec, paths: Sequence[Path], steps: int) -> float:
    settings = batches.settings(spec, choose_device(bench.device))

    def work() -> None:
        training = bare.Training(bench.model, settings)
        encoders = bare.Encoders(bench.model, settings.device, settings.dtype)
        for batch in bare.encoding_batches(paths, encoders, side=bench.side, batch_size=bench.batch_size, steps=steps):
            training.step(batch)
        bare.wait(settings.device)

    return seconds(work)
