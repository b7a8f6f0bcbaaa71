"""The flow in one process: what `kubetuner run` does, from a resolved TrainingRun to the files of `--out`."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubetuner.artifacts import model as models
from kubetuner.artifacts import outputs
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.diffusion import layout
from kubetuner.errors import InputError
from kubetuner.flow import STAGES, Run, Stage
from kubetuner.v1alpha1.training_run_pb2 import Model, TrainingRun, TrainingRunSpec

atexit.register(gc.unfreeze)  # of what `_function` froze: some modules check at the end that all they made was let go of


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    result: dict[str, Any]
    """result.json."""
    report: ArtifactRef


@dataclass(slots=True)
class _Made:
    model: Model
    """The base model, where it lies now."""
    artifacts: dict[str, ArtifactRef] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def run(run: TrainingRun, out: Path, ctx: StageContext) -> Outcome:
    """All stages in order, each on the artifact before it, then the files of `out`."""
    _check_out(out)
    made = _make(run, ctx)
    report = made.artifacts["report"]
    result = _result(run, made, ctx)
    from kubetuner.evaluate.core.outputs import write_outputs

    write_outputs(ctx.store, report, run, out, result, base=ctx.base, model=made.model)
    return Outcome(result=result, report=report)


def export(run: TrainingRun, step: int, out: Path, ctx: StageContext) -> None:
    """The exports of another kept step of a run, which is finished first where it is not."""
    _check_out(out)
    made = _make(run, ctx)
    from kubetuner.evaluate.core.outputs import write_step

    write_step(ctx.store, made.artifacts["report"], run, step, out, base=ctx.base, model=made.model, device=ctx.device)


def _check_out(out: Path) -> None:
    """Raise InputError where the results cannot be written: hours of work should not end at a wrong name."""
    if "\0" in str(out):
        raise InputError(f"--out: {str(out)!r} is no name of a folder; give another")
    place = out.absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise InputError(f"--out: {place} is no folder; give another, or move it away")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"--out: {place} cannot be written to; give another folder, or the right to write there")


def _make(run: TrainingRun, ctx: StageContext) -> _Made:
    spec = TrainingRunSpec()
    spec.CopyFrom(run.spec)
    bring_near(spec.model, ctx)
    layout.check_model(spec.model, ctx.base, ctx.store)  # before hours of work that it would end
    made = _Made(model=spec.model)
    source: ArtifactRef | None = None
    for stage in STAGES:
        ctx.check()
        started, before = time.perf_counter(), ctx.work.total()
        source = _function(stage)(spec, source, ctx)
        made.artifacts[stage.gives] = source
        made.seconds[stage.name] = round(time.perf_counter() - started, 3)
        if ctx.work.total() > before:
            _free_memory()
    return made


def bring_near(model: Model, ctx: StageContext) -> None:
    """Make the model of a run one that stages can read, where it lies neither on this machine nor on the Hub."""
    if any(map(models.lies_elsewhere, (model.path, model.vae.path, model.config))):
        from kubetuner.ingest.core.model import bring, point  # brings urllib3 along, which few runs on one machine need

        point(model, bring(model, ctx))


def _function(stage: Stage) -> Run:
    """A stage's own function; imported only now, so that a stage that finds its artifact pays for no other's imports."""
    # Modules make hundreds of thousands of objects that stay for ever: they are not searched for garbage while they are made, nor later.
    gc.disable()
    try:
        function: Run = importlib.import_module(f"kubetuner.{stage.name}.core.run").run
    finally:
        gc.enable()
        gc.freeze()
    return function


def _result(run: TrainingRun, made: _Made, ctx: StageContext) -> dict[str, Any]:
    fingerprints = {noun: ref.fingerprint for noun, ref in made.artifacts.items()}
    return outputs.result(ctx.store, name=run.metadata.name, artifacts=fingerprints, work=ctx.work, seconds=made.seconds)


def _free_memory() -> None:
    """Give the models of the last stage back before the next stage loads its own."""
    gc.collect()
    import sys

    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
