"""The dry run: what ingest would give and what training would make of it. Needs no model and no torch.

In: a resolved run. Out: a document for `inspect --json`; what is wrong with the data stands in it with its cure and is no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kubetuner.artifacts.manifest import SCHEMA
from kubetuner.artifacts.objects import Json
from kubetuner.context import StageContext
from kubetuner.diffusion import batches
from kubetuner.ingest.core import decide, look, problems, sources, tokens
from kubetuner.ingest.core.seen import Seen, scratch
from kubetuner.ingest.core.sources import Source
from kubetuner.ingest.core.summary import Summary
from kubetuner.v1alpha1.training_run_pb2 import Dataset, Train, TrainingRun, TrainingRunSpec

_CUT_SHOWN = 100


def inspect(run: TrainingRun, ctx: StageContext) -> Json:
    """Everything about a resolved run's data: each picture, buckets, captions, batches, steps, and problems with their cures.

    Raises SpecError where a source cannot be opened. What decoding tells is kept in the context's store, so the run itself need not
    decode again.
    """
    spec = run.spec
    found = sources.list_all(spec, ctx.base, ctx.store)
    counts = Summary(found)
    with scratch() as file:
        rows = decide.rows(look.look(found, ctx, Seen(file)).batches(), [source.dataset for source in found], seed=spec.seed)
        table = pa.Table.from_batches(counts.counted(rows), SCHEMA)
    summary = counts.rows()
    buckets = _buckets(table, [source.dataset for source in found], spec.train)
    captions = _captions(table, spec, ctx)
    length = _length(buckets, spec.train)
    return {
        "name": run.metadata.name,
        "datasets": summary,
        "images": _images(table, found),
        "buckets": buckets,
        "captions": captions,
        **length,
        "problems": [
            *problems.of_datasets(found, summary),
            *problems.of_pictures(table, found),
            *problems.of_buckets(buckets, spec.train, length),
            *problems.of_captions(captions),
        ],
    }


def _images(table: pa.Table, found: Sequence[Source]) -> list[Json]:
    roots = {source.dataset.id: source.dataset.source.uri.rstrip("/") for source in found}
    return [
        {
            "uri": f"{roots[row['dataset']]}/{row['path']}",
            "dataset": row["dataset"],
            "used": row["used"],
            "reason": row["reason"],
            "detail": row["detail"],
            "width": row["width"],
            "height": row["height"],
            "resized": [row["resized_width"], row["resized_height"]],
            "crop": [row["crop_top"], row["crop_left"]],
            "target": [row["target_width"], row["target_height"]],
            "bucket": row["bucket"],
            "captions": row["captions"],
        }
        for batch in table.to_batches(max_chunksize=4096)
        for row in batch.to_pylist()
    ]


def _buckets(table: pa.Table, datasets: Sequence[Dataset], train: Train) -> list[Json]:
    """One row for each dataset and target size that holds pictures: what the training batches within."""
    position = {dataset.id: number for number, dataset in enumerate(datasets)}
    grouped = table.filter(table["used"]).group_by(["dataset", "target_width", "target_height", "bucket"]).aggregate([("path", "count")])
    rows = [_bucket(row, datasets[position[row["dataset"]]], train) for row in grouped.to_pylist()]
    return sorted(rows, key=lambda row: (position[row["dataset"]], float(row["bucket"]), row["size"]))


def _bucket(row: Json, dataset: Dataset, train: Train) -> Json:
    count, repeats = row["path_count"], dataset.repeats
    trained = dataset.dataset_type == "image"
    return {
        "dataset": dataset.id,
        "kind": dataset.dataset_type,
        "bucket": row["bucket"],
        "size": [row["target_width"], row["target_height"]],
        "count": count,
        "samples": batches.group_samples(count, repeats=repeats) if trained else count,
        "batches": batches.group_batches(count, repeats=repeats, batch_size=train.batch_size, remainder=train.remainder) if trained else 0,
        "enough": not trained or batches.fills_batch(count, repeats=repeats, batch_size=train.batch_size),
        "repeatsToFill": batches.repeats_to_fill(count, batch_size=train.batch_size) if trained else 0,
    }


def _captions(table: pa.Table, spec: TrainingRunSpec, ctx: StageContext) -> Json:
    used = table.filter(table["used"])
    slots = pc.list_flatten(used["captions"])
    distinct = sorted(pc.unique(slots).to_pylist())
    reasons = pc.value_counts(table["reason"]).to_pylist()
    counter = tokens.find(spec.model, ctx.base, ctx.store)
    document: dict[str, Any] = {
        "total": len(slots),
        "distinct": len(distinct),
        "missing": sum(row["counts"] for row in reasons if row["values"] in ("caption_missing", "caption_unreadable")),
        "counted": counter is not None,
        "limit": tokens.MAX_TOKENS,
        "longest": None,
        "cut": None,
        "cutCaptions": [],
    }
    if counter is not None:
        counts = counter.count(distinct)
        long = [(count, caption) for count, caption in zip(counts, distinct, strict=True) if count > tokens.MAX_TOKENS]
        shown = sorted(long, key=lambda row: (-row[0], row[1]))[:_CUT_SHOWN]
        document["longest"] = max(counts, default=0)
        document["cut"] = len(long)
        document["cutCaptions"] = [{"caption": caption, "tokens": count} for count, caption in shown]
    return document


def _length(buckets: Sequence[Json], train: Train) -> Json:
    total = sum(row["batches"] for row in buckets)
    in_epoch = batches.steps_per_epoch(total, accumulation=train.gradient_accumulation_steps)
    steps = batches.total_steps(
        in_epoch,
        max_steps=train.max_steps if train.HasField("max_steps") else None,
        epochs=train.epochs if train.HasField("epochs") else None,
    )
    return {
        "batchSize": train.batch_size,
        "batches": total,
        "stepsPerEpoch": in_epoch,
        "steps": steps,
        "epochs": round(batches.total_epochs(steps, steps_in_epoch=in_epoch), 3),
    }
