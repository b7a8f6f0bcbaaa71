"""Decide every picture's row of the manifest: used and how, or why not. Pure: a table in, batches of rows out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from kubetuner import draws
from kubetuner.artifacts.manifest import SCHEMA
from kubetuner.diffusion import buckets
from kubetuner.diffusion.buckets import Face, Placement, Refusal, Sizing
from kubetuner.v1alpha1.training_run_pb2 import Dataset

_NOT_SAMPLED: Final = Refusal(reason="not_sampled", detail="maxNumSamples chose others")


def sizing(dataset: Dataset) -> Sizing:
    """How a resolved dataset sizes its pictures."""
    return Sizing(
        resolution=dataset.resolution,
        resolution_type=dataset.resolution_type,
        minimum=dataset.minimum_image_size,
        maximum=dataset.maximum_image_size if dataset.HasField("maximum_image_size") else None,
        downsample=dataset.target_downsample_size if dataset.HasField("target_downsample_size") else None,
        minimum_aspect=dataset.minimum_aspect_ratio if dataset.HasField("minimum_aspect_ratio") else None,
        maximum_aspect=dataset.maximum_aspect_ratio if dataset.HasField("maximum_aspect_ratio") else None,
        crop=dataset.crop,
        aspect=dataset.crop_aspect,
        style=dataset.crop_style,
        choices=tuple((choice.aspect, choice.weight) for choice in dataset.crop_aspect_buckets),
        max_upscale=dataset.max_upscale_threshold if dataset.HasField("max_upscale_threshold") else None,
    )


def rows(seen: Iterable[pa.RecordBatch], datasets: Sequence[Dataset], *, seed: int) -> Iterator[pa.RecordBatch]:
    """The manifest's rows of what was seen (schema seen.SCHEMA, each batch of one source), in its order, in batches of one dataset each.

    `datasets` are those that its column `source` counts. Only where a dataset is sampled are all its rows held at a time.
    """
    for number, batches in groupby(seen, key=lambda batch: batch["source"][0].as_py()):
        dataset = datasets[number]
        decided = _decide_dataset(batches, dataset, seed)
        if dataset.max_num_samples:
            yield from _sample(pa.Table.from_batches(decided, SCHEMA), dataset.max_num_samples, seed).to_batches()
        else:
            yield from decided


def _decide_dataset(seen: Iterable[pa.RecordBatch], dataset: Dataset, seed: int) -> Iterator[pa.RecordBatch]:
    rule = sizing(dataset)
    for batch in seen:
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        for row in batch.to_pylist():
            _append(columns, row, _decide_row(row, rule, seed), dataset)
        yield pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def _decide_row(row: Mapping[str, Any], rule: Sizing, seed: int) -> Placement | Refusal:
    if row["reason"]:
        return Refusal(reason=row["reason"], detail=row["detail"])
    face = None if row["face_across"] is None else Face(across=row["face_across"], down=row["face_down"])
    return buckets.place((row["width"], row["height"]), rule, seed=seed, pixels=row["pixels"].hex(), face=face)


def _append(columns: Mapping[str, list[Any]], row: Mapping[str, Any], decision: Placement | Refusal, dataset: Dataset) -> None:
    used = isinstance(decision, Placement)
    values = {
        "dataset": dataset.id,
        "kind": dataset.dataset_type,
        "path": row["path"],
        "used": used,
        "reason": "" if isinstance(decision, Placement) else decision.reason,
        "detail": decision.note if isinstance(decision, Placement) else decision.detail,
        "bytes": row["bytes"],
        "sha256": row["sha256"].hex(),
        "pixels": row["pixels"].hex(),
        "width": row["width"],
        "height": row["height"],
        **_place_columns(decision if isinstance(decision, Placement) else None),
        "captions": row["captions"],
    }
    for name, value in values.items():
        columns[name].append(value)


def _place_columns(placement: Placement | None) -> dict[str, Any]:
    resized = target = crop = (0, 0)
    if placement is not None:
        resized, target, crop = placement.resized, placement.target, placement.crop
    return {
        "resized_width": resized[0],
        "resized_height": resized[1],
        "crop_top": crop[0],
        "crop_left": crop[1],
        "target_width": target[0],
        "target_height": target[1],
        "bucket": "" if placement is None else placement.bucket,
    }


def _sample(table: pa.Table, count: int, seed: int) -> pa.Table:
    """Keep `count` of the used rows, chosen by what the pictures show and the seed."""
    used = [index for index, used in enumerate(table["used"].to_pylist()) if used]
    shown = table["pixels"].to_pylist()
    ranked = sorted(used, key=lambda index: (draws.key(seed, "sample of the dataset", shown[index]), index))
    left_out = set(ranked[count:])
    if not left_out:
        return table
    mask = pa.array([index in left_out for index in range(table.num_rows)])
    blank = {**_place_columns(None), "used": False, "reason": _NOT_SAMPLED.reason, "detail": _NOT_SAMPLED.detail}
    for name, value in blank.items():
        field = SCHEMA.field(name)
        column = pc.if_else(mask, pa.scalar(value, field.type), table[name])
        table = table.set_column(SCHEMA.get_field_index(name), field, column)
    return table
