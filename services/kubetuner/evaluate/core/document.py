"""report.json: what the page shows, as plain data. Nothing of it depends on the time, the machine's paths or the run's name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.objects import Json
from kubetuner.evaluate.core.loss import Sample

_POINTS: Final = 1000
"""Points of the loss curve that are kept; a longer history is averaged into as many parts."""


def curve(history: Sequence[Json]) -> list[Json]:
    """Loss and learning rate over the steps, thinned to at most 1,000 points; each is the mean of the steps it stands for."""
    edges = np.linspace(0, len(history), min(len(history), _POINTS) + 1).astype(int)
    parts = [range(first, last) for first, last in pairwise(edges)]
    return [
        {
            "step": history[part[-1]]["step"],
            "loss": _round(float(np.mean([history[row]["loss"] for row in part]))),
            "learningRate": history[part[-1]]["learningRate"],
        }
        for part in parts
    ]


def score(table: np.ndarray, samples: Sequence[Sample], *, held_out: bool) -> Json | None:
    """Mean loss of the held-out or the training pictures: in all, at each timestep, and by dataset. None where there are none."""
    rows = [row for row, sample in enumerate(samples) if sample.held_out == held_out]
    if not rows:
        return None
    by_dataset: dict[str, list[int]] = {}
    for row in rows:
        by_dataset.setdefault(samples[row].dataset, []).append(row)
    return {
        "mean": _round(float(table[rows].mean())),
        "images": len(rows),
        "perTimestep": [_round(float(value)) for value in table[rows].mean(axis=0)],
        "perDataset": {dataset: _round(float(table[members].mean())) for dataset, members in sorted(by_dataset.items())},
    }


def improved(base: np.ndarray, tuned: np.ndarray, samples: Sequence[Sample], *, held_out: bool) -> int:
    """Pictures whose loss is lower than with the base model."""
    rows = [row for row, sample in enumerate(samples) if sample.held_out == held_out]
    return int((tuned[rows].mean(axis=1) < base[rows].mean(axis=1)).sum())


def rank(models: Sequence[Json]) -> Json:
    """Checkpoints in order of their loss: on held-out pictures, or on training pictures where none is held out.

    `models` begins with the base model; each has `step` (None for the base), `heldOut` and `training` (a score or None).
    """
    measured = "heldOut" if models[0]["heldOut"] is not None else "training"
    if models[0][measured] is None or len(models) < 2:
        return {"rankedBy": None, "ranking": [], "best": None, "baseLoss": None, "bestLoss": None, "finalLoss": None}
    order = sorted(models[1:], key=lambda model: (model[measured]["mean"], model["step"]))
    return {
        "rankedBy": measured,
        "ranking": [model["step"] for model in order],
        "best": order[0]["step"],
        "baseLoss": models[0][measured]["mean"],
        "bestLoss": order[0][measured]["mean"],
        "finalLoss": models[-1][measured]["mean"],
    }


def datasets(manifest: Manifest) -> list[Json]:
    """For each dataset: pictures used, not used by reason, captions, and the sizes they are trained at."""
    counts = manifest.table.group_by(["dataset", "kind", "reason", "target_width", "target_height"], use_threads=False).aggregate(
        [([], "count_all")]
    )
    found: dict[str, Json] = {}
    for row in counts.to_pylist():
        entry = found.setdefault(row["dataset"], {"id": row["dataset"], "kind": row["kind"], "used": 0, "unused": {}, "buckets": {}})
        if row["reason"]:
            entry["unused"][row["reason"]] = entry["unused"].get(row["reason"], 0) + row["count_all"]
        else:
            entry["used"] += row["count_all"]
            size = f"{row['target_width']}x{row['target_height']}"
            entry["buckets"][size] = entry["buckets"].get(size, 0) + row["count_all"]
    for entry in found.values():
        entry["buckets"] = [{"size": size, "images": count} for size, count in sorted(entry["buckets"].items(), key=_most_first)]
        entry["unused"] = [{"reason": reason, "images": count} for reason, count in sorted(entry["unused"].items(), key=_most_first)]
    return list(found.values())


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def caption_counts(manifest: Manifest, limit: int = 10_000) -> dict[str, dict[str, int]]:
    """How often each caption stands beside a trained picture, by dataset; the most frequent of each, for the LoRA's header."""
    found: dict[str, dict[str, int]] = {}
    trained = manifest.used("image").select(["dataset", "captions"])
    for batch in trained.to_batches():
        for dataset, captions in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
            counts = found.setdefault(dataset, {})
            for caption in captions:
                if caption in counts or len(counts) < limit:
                    counts[caption] = counts.get(caption, 0) + 1
    return found


def versions() -> dict[str, Any]:
    """What computed the report."""
    import platform
    from importlib.metadata import version

    names = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _round(value: float) -> float:
    """Seven digits: more than any difference that means something, and the same on every device."""
    return float(f"{value:.7g}")
