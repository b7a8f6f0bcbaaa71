"""The flow: four stages in their order. Each takes the artifact before it and gives its own.

    TrainingRun ─ ingest ─▶ manifest ─ embed ─▶ cache ─ train ─▶ checkpoint ─ evaluate ─▶ report

What runs them (a laptop's process, a pod each) imports `kubetuner.<stage>.core.run`; stages never call each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
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


STAGES: Final = (
    Stage(name="ingest", takes=None, gives="manifest", needs_gpu=False),
    Stage(name="embed", takes="manifest", gives="cache", needs_gpu=True),
    Stage(name="train", takes="cache", gives="checkpoint", needs_gpu=True),
    Stage(name="evaluate", takes="checkpoint", gives="report", needs_gpu=True),
)
