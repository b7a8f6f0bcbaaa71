"""How long a training is and in which order it goes, from the spec and the manifest."""

from __future__ import annotations

import numpy as np

from kubetuner.artifacts.manifest import Manifest
from kubetuner.diffusion import batches
from kubetuner.errors import SpecError
from kubetuner.train.core.order import Collection, Order, Sample
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec


def order(spec: TrainingRunSpec, manifest: Manifest) -> Order:
    """The order of all batches. Raises SpecError where the pictures make no batch."""
    table = manifest.table
    ids, used, kinds = (table[name].to_numpy(zero_copy_only=False) for name in ("dataset", "used", "kind"))
    sizes = np.stack([table["target_width"].to_numpy(zero_copy_only=False), table["target_height"].to_numpy(zero_copy_only=False)], axis=1)
    collections = []
    for data in spec.datasets:
        rows = np.flatnonzero(used & (kinds == "image") & (ids == data.id))
        if len(rows) == 0:
            continue
        _, group = np.unique(sizes[rows], axis=0, return_inverse=True)
        group = group.reshape(-1)
        groups = tuple(rows[group == number] for number in range(group.max() + 1))
        collections.append(Collection(id=data.id, groups=groups, repeats=data.repeats, probability=data.probability))
    found = Order(collections, seed=spec.seed, batch_size=spec.train.batch_size, remainder=spec.train.remainder)
    if found.batches_per_epoch == 0:
        raise SpecError(
            "spec.train.remainder",
            f"drop leaves no batch: no size has {spec.train.batch_size} pictures; set remainder: keep, raise repeats or lower batchSize",
        )
    return found


def total_steps(spec: TrainingRunSpec, found: Order) -> int:
    """Optimizer steps of the run. Raises SpecError where they are too many."""
    train = spec.train
    steps = batches.total_steps(
        found.steps_per_epoch(train.gradient_accumulation_steps),
        max_steps=train.max_steps if train.HasField("max_steps") else None,
        epochs=train.epochs if train.HasField("epochs") else None,
    )
    if (trouble := batches.too_long(found.batches_per_epoch, steps)) is not None:
        raise SpecError("spec.train", "; ".join(trouble))
    return steps


def pictures(manifest: Manifest, step: list[list[Sample]]) -> str:
    """The pictures of a step by name, at most eight of them."""
    rows = sorted({sample.row for batch in step for sample in batch})
    paths = manifest.table["path"].take(rows[:8]).to_pylist()
    return ", ".join(paths) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
