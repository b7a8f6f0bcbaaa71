"""Runs of the flow in this process, for tests: a folder with data and model, and a watch that interrupts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.embed.core.run import run as embed
from kubetuner.ingest.core.run import run as ingest
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage import ObjectStore
from kubetuner.storage.memory import MemoryStore
from kubetuner.train.core.run import run as train
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun
from tests.builders import run_document


@dataclass
class Counter:
    """Progress that sets an event after so many units of a stage."""

    stage: str = ""
    after: int = -1
    cancelled: threading.Event = field(default_factory=threading.Event)
    _now: str = ""
    _done: int = 0

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        self._now = stage
        self._done = 0
        if stage == self.stage and self.after == 0:
            self.cancelled.set()

    def advance(self, count: int = 1, **figures: float) -> None:
        self._done += count
        if self._now == self.stage and self._done >= self.after >= 0:
            self.cancelled.set()

    def note(self, message: str) -> None:
        pass


@dataclass
class Place:
    """A folder with `photographs` and `tiny-sdxl`, and a store."""

    base: Path
    store: ObjectStore = field(default_factory=MemoryStore)

    def context(self, counter: Counter | None = None) -> StageContext:
        counter = counter or Counter()
        return StageContext(store=self.store, base=self.base, device="cpu", progress=counter, cancelled=counter.cancelled)

    def trained(self, run: TrainingRun, ctx: StageContext | None = None) -> ArtifactRef:
        """ingest, embed and train."""
        ctx = ctx or self.context()
        return train(run.spec, embed(run.spec, ingest(run.spec, None, ctx), ctx), ctx)

    def weights(self, training: ArtifactRef) -> bytes:
        """The final weights' file."""
        from kubetuner.artifacts import objects

        index = objects.load(self.store, training)
        return self.store.get(f"checkpoint/{index['final']}/{index['weights']}.safetensors")

    def history(self, training: ArtifactRef) -> list[dict[str, Any]]:
        from kubetuner.artifacts import checkpoint, objects

        return checkpoint.history(self.store, training, objects.load(self.store, training))


def a_run(changes: Mapping[str, Any] | None = None, /, **parts: Any) -> TrainingRun:
    """A resolved run; arguments as those of run_document."""
    return resolve(parse_run(run_document(changes, **parts)))
