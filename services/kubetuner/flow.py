"""The flow: four stages in their order. Each takes the artifact before it and gives its own.

    TrainingRun ─ ingest ─▶ manifest ─ embed ─▶ cache ─ train ─▶ checkpoint ─ evaluate ─▶ report

What runs them (a laptop's process, a pod each) imports `kubetuner.<stage>.core.run`; stages never call each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kubetuner.artifacts.objects import ArtifactRef, fingerprint
from kubetuner.context import StageContext
from kubetuner.spec.keyed import keyed
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

Run = Callable[[TrainingRunSpec, ArtifactRef | None, StageContext], ArtifactRef]
"""What every stage's `core.run.run` is: (resolved spec, the artifact before, surroundings) -> its own artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A room of the flow."""

    name: str
    """Verb: the folder, the service, the container argument, the log field."""
    takes: str | None
    """Noun of the artifact it takes; None for the first."""
    gives: str
    """Noun of the artifact it gives."""
    needs_gpu: bool
    """Whether it computes on an accelerator."""
    reads: tuple[str, ...]
    """Fields of the spec that decide what it gives, by their names in the CR. The model is not among them: it counts by its content."""


STAGES: Final = (
    Stage(name="ingest", takes=None, gives="manifest", needs_gpu=False, reads=("seed", "datasets")),
    Stage(name="embed", takes="manifest", gives="cache", needs_gpu=True, reads=("embed",)),
    Stage(name="train", takes="cache", gives="checkpoint", needs_gpu=True, reads=("seed", "datasets", "embed", "train")),
    Stage(name="evaluate", takes="checkpoint", gives="report", needs_gpu=True, reads=("seed", "evaluate")),
)
_MEMO: Final = 1


def stage(name: str) -> Stage:
    """The stage of a name."""
    return next(one for one in STAGES if one.name == name)


def inputs(name: str, spec: TrainingRunSpec, source: ArtifactRef | None, model: ArtifactRef | None) -> str:
    """Fingerprint of all that decides what a stage gives, before anything is opened: where two are equal, so are the results.

    `spec` is resolved, `source` is the artifact that the stage takes, `model` the base model in the store. It stands in the key of the
    memo of results, `results/<stage>/<fingerprint>.json`.
    """
    found = keyed(spec)
    read = {field: found[field] for field in stage(name).reads if field in found}
    refs = [None if ref is None else [ref.noun, ref.fingerprint] for ref in (source, model)]
    return fingerprint("inputs", _MEMO, name, read, refs)


def memo_key(name: str, spec: TrainingRunSpec, source: ArtifactRef | None, model: ArtifactRef | None) -> str:
    """Where the memo of a stage's result lies in the store: JSON with `noun` and `fingerprint`."""
    return f"results/{name}/{inputs(name, spec, source, model)}.json"
