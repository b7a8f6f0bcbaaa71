"""A folder of pictures, a store, and ingest over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from kubetuner.artifacts import manifest
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.ingest.core.inspect import inspect
from kubetuner.ingest.core.run import run
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage.memory import MemoryStore
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun
from tests import builders


@dataclass
class Bench:
    """One place to run ingest in; `context` is that of the last run."""

    folder: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    context: StageContext = field(init=False)

    def __post_init__(self) -> None:
        self.pictures.mkdir(exist_ok=True)
        self.renew()

    @property
    def pictures(self) -> Path:
        """Folder of the first dataset."""
        return self.folder / "photographs"

    def renew(self) -> StageContext:
        """A fresh context, as a new process would have."""
        self.context = StageContext(store=self.store, base=self.folder)
        return self.context

    def spec(self, **changes: Any) -> TrainingRun:
        """A resolved run whose only dataset has these fields; `_train` holds fields of the training, `_seed` the seed."""
        train, seed = changes.pop("_train", {}), changes.pop("_seed", 1)
        dataset = {"id": "photographs", "source": {"uri": "photographs"}, "resolution": 64, **changes}
        return resolve(parse_run(builders.run_document(datasets=[dataset], train=train, seed=seed)))

    def ingest(self, **changes: Any) -> ArtifactRef:
        """Run the stage in a fresh context."""
        return run(self.spec(**changes).spec, None, self.renew())

    def rows(self, **changes: Any) -> list[dict[str, Any]]:
        """Run the stage and read its rows."""
        return self.table(**changes).to_pylist()

    def table(self, **changes: Any) -> pa.Table:
        """Run the stage and read its table."""
        return manifest.read(self.store, self.ingest(**changes)).table

    def inspect(self, **changes: Any) -> dict[str, Any]:
        """The dry run in a fresh context."""
        return inspect(self.spec(**changes), self.renew())
