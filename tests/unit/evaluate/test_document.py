"""report.json: counts that add up, and curves of a bounded length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from kubetuner.artifacts.manifest import SCHEMA, Manifest
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.evaluate.core import document
from kubetuner.evaluate.core.loss import Sample


def a_manifest(*rows: dict[str, Any]) -> Manifest:
    plain = {field.name: "" if pa.types.is_string(field.type) else [] if pa.types.is_list(field.type) else 0 for field in SCHEMA}
    table = pa.Table.from_pylist([plain | {"used": not row.get("reason"), "kind": "image"} | row for row in rows], schema=SCHEMA)
    return Manifest(ref=ArtifactRef(noun="manifest", fingerprint="m"), index={}, table=table)


def a_sample(dataset: str, *, held_out: bool) -> Sample:
    empty = torch.zeros(0)
    return Sample(
        name="", dataset=dataset, held_out=held_out, pixels="", latents=empty, hidden=empty, pooled=empty, time_ids=(0, 0, 0, 0, 0, 0)
    )


@pytest.mark.parametrize(("steps", "points"), [(1, 1), (1000, 1000), (2500, 1000)])
def test_curve_is_bounded_and_ends_at_the_last_step(steps: int, points: int) -> None:
    curve = document.curve([{"step": step, "loss": float(step), "learningRate": 0.1} for step in range(1, steps + 1)])
    assert (len(curve), curve[-1]["step"]) == (points, steps)
    assert np.mean([row["loss"] for row in curve]) == pytest.approx((steps + 1) / 2, rel=0.01)


def test_datasets_count_each_picture_once() -> None:
    manifest = a_manifest(
        {"dataset": "a", "target_width": 64, "target_height": 64},
        {"dataset": "a", "target_width": 64, "target_height": 128},
        {"dataset": "a", "target_width": 64, "target_height": 128},
        {"dataset": "a", "reason": "too_small"},
        {"dataset": "b", "kind": "eval", "target_width": 64, "target_height": 64},
    )
    first, second = document.datasets(manifest)
    assert (first["used"], first["unused"]) == (3, [{"reason": "too_small", "images": 1}])
    assert first["buckets"] == [{"size": "64x128", "images": 2}, {"size": "64x64", "images": 1}]
    assert (second["id"], second["kind"], second["used"]) == ("b", "eval", 1)


def test_captions_of_trained_pictures_are_counted() -> None:
    manifest = a_manifest(
        {"dataset": "a", "captions": ["x", "y"]}, {"dataset": "a", "captions": ["x"]}, {"dataset": "b", "kind": "eval", "captions": ["z"]}
    )
    assert document.caption_counts(manifest) == {"a": {"x": 2, "y": 1}}


def test_score_means_over_pictures_and_timesteps() -> None:
    samples = [a_sample("a", held_out=True), a_sample("b", held_out=True), a_sample("a", held_out=False)]
    table = np.array([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]])
    found = document.score(table, samples, held_out=True)
    assert found == {"mean": 2.5, "images": 2, "perTimestep": [2.0, 3.0], "perDataset": {"a": 1.5, "b": 3.5}}
    assert document.score(table[:2], samples[:2], held_out=False) is None
    assert document.improved(table, table - [[1.0], [-1.0], [1.0]], samples, held_out=True) == 1
