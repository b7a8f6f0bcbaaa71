"""Decide every picture's row of the manifest: used and how, or why not. Pure: a table in, a table out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from kubetuner import draws
from kubetuner.artifacts.manifest import SCHEMA
from kubetuner.diffusion import buckets
from kubetuner.diffusion.buckets import Face, Placement, Refusal, Sizing
from kubetuner.v1alpha1.training_run_pb2 import Dataset

_CHUNK: Final = 4096
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


def decide(seen: pa.Table, datasets: Sequence[Dataset], *, seed: int) -> pa.Table:
    """The manifest's rows of what was seen (schema look.SCHEMA), in its order. `datasets` are those that its column `source` counts."""
    tables = []
    for number, dataset in enumerate(datasets):
        table = _decide_dataset(part(seen, "source", number), dataset, seed)
        tables.append(_sample(table, dataset.max_num_samples, seed) if dataset.max_num_samples else table)
    return pa.concat_tables([SCHEMA.empty_table(), *tables])


def part(table: pa.Table, column: str, value: int | str) -> pa.Table:
    """The rows that hold a value in a column whose equal values stand together; copies nothing."""
    start = pc.index(table[column], value).as_py()
    count = pc.sum(pc.equal(table[column], value)).as_py() or 0
    return table.slice(max(start, 0), count)


def duplicates(table: pa.Table) -> int:
    """How many used rows of a dataset show the same picture as an earlier one."""
    shown = table["pixels"].filter(table["used"])
    return len(shown) - int(pc.count_distinct(shown).as_py())


def _decide_dataset(rows: pa.Table, dataset: Dataset, seed: int) -> pa.Table:
    rule = sizing(dataset)
    batches = []
    for batch in rows.to_batches(max_chunksize=_CHUNK):
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        for row in batch.to_pylist():
            _append(columns, row, _decide_row(row, rule, seed), dataset)
        batches.append(pa.RecordBatch.from_pydict(columns, schema=SCHEMA))
    return pa.Table.from_batches(batches, schema=SCHEMA)


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
