"""What a user should know before a training starts, each with its cure. Pure: over the tables and counts of an inspection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from kubetuner.artifacts.objects import Json
from kubetuner.diffusion import batches
from kubetuner.ingest.core import run as stage
from kubetuner.ingest.core.sources import Source
from kubetuner.v1alpha1.training_run_pb2 import Train

_ENLARGED: Final = 1.5
"""Pictures whose edges grow by more than this lose too much sharpness to pass over in silence."""
_PICTURES_NOT_READ: Final = frozenset(
    (".heic", ".heif", ".jxl", ".svg", ".eps", ".pdf", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".mp4")
)


def of_datasets(found: Sequence[Source], summary: Sequence[Json]) -> Iterator[Json]:
    """Datasets that give nothing, pictures not used by reason, duplicates, formats that are not read."""
    for source, row in zip(found, summary, strict=True):
        name = source.dataset.id
        if not row["used"]:
            yield _problem("error", "no_pictures", f"dataset {name}: {stage.nothing_found(row, source)}", "")
        for reason, count in row["reasons"].items():
            level = "info" if reason == "not_sampled" else "warning"
            yield _problem(level, reason, f"dataset {name}: {count} of {row['found']} pictures are not used: {reason}", stage.CURES[reason])
        if row["duplicates"]:
            message = f"dataset {name}: {row['duplicates']} pictures show the same as another one and count twice"
            yield _problem("warning", "duplicate", message, "take the copies out, or raise repeats where you want them seen more often")
        unread = {ending: count for ending, count in row["otherFiles"].items() if ending in _PICTURES_NOT_READ}
        if unread:
            listed = ", ".join(f"{count} {ending}" for ending, count in unread.items())
            yield _problem(
                "warning", "format_not_read", f"dataset {name}: files that are not read: {listed}", "save them as PNG, JPEG or WebP"
            )


def of_pictures(table: pa.Table, found: Sequence[Source]) -> Iterator[Json]:
    """Pictures that are used otherwise than a user may expect."""
    used = table.filter(table["used"])
    for source in found:
        dataset = source.dataset
        rows = used.filter(pc.equal(used["dataset"], dataset.id))
        growth = pc.divide(pc.cast(rows["resized_width"], pa.float64()), pc.cast(rows["width"], pa.float64()))
        enlarged = int(pc.sum(pc.greater(growth, _ENLARGED)).as_py() or 0)
        if enlarged:
            message = f"dataset {dataset.id}: {enlarged} pictures are enlarged more than {_ENLARGED} times and will be blurred"
            yield _problem("warning", "enlarged", message, "set minimumImageSize, lower resolution, or give larger pictures")
        notes = pc.value_counts(rows.filter(pc.not_equal(rows["detail"], ""))["detail"]).to_pylist()
        for note in notes:
            message = f"dataset {dataset.id}: {note['counts']} pictures: {note['values']}"
            yield _problem("warning", "crop_aspect", message, "raise maxUpscaleThreshold, lower resolution, or give larger pictures")
        if not dataset.crop and dataset.HasField("maximum_image_size"):
            message = f"dataset {dataset.id}: maximumImageSize and targetDownsampleSize change nothing without a crop"
            yield _problem("info", "no_effect", message, "set crop: true, or take the two out")


def of_buckets(buckets: Sequence[Json], train: Train, length: Json) -> Iterator[Json]:
    """Buckets that do not fill a batch, and trainings that see nothing or not all."""
    for row in buckets:
        if row["enough"]:
            continue
        size = f"{row['size'][0]}x{row['size'][1]}"
        become = {
            "keep": "its batch stays smaller",
            "fill": "its batch is topped up with the same pictures",
            "drop": "it is never trained on",
        }[train.remainder]
        message = f"dataset {row['dataset']}: bucket {size} gives {row['samples']} of the {train.batch_size} samples of a batch: {become}"
        fewer = "or make fewer buckets (crop: true, with cropAspect square or closest)"
        fix = f"set repeats: {row['repeatsToFill']} or train.batchSize: {row['samples']}, {fewer}"
        yield _problem("warning", "bucket_below_batch", message, fix)
    if (trouble := batches.too_long(length["batches"], length["steps"])) is not None:
        yield _problem("error", "too_long", *trouble)
    if not length["batches"]:
        if buckets:
            fix = "lower train.batchSize, set train.remainder: keep, or raise repeats"
            yield _problem("error", "no_batches", "no bucket fills a batch: there is nothing to train on", fix)
    elif length["steps"] < length["stepsPerEpoch"]:
        message = f"{length['steps']} steps are less than one epoch of {length['stepsPerEpoch']}: not every picture is seen"
        yield _problem(
            "info", "less_than_an_epoch", message, f"set train.maxSteps: {length['stepsPerEpoch']} or train.epochs: 1 to see them all"
        )


def of_captions(captions: Json) -> Iterator[Json]:
    """Captions that are cut, or that could not be counted."""
    if not captions["counted"]:
        message = f"tokens are not counted: the model's vocabulary is not on this machine; captions past {captions['limit']} tokens are cut"
        yield _problem("info", "tokens_not_counted", message, "inspect again once the model is here, or set model.path to its folder")
    elif captions["cut"]:
        many = f"{captions['cut']} of {captions['distinct']} captions"
        message = f"{many} are longer than {captions['limit']} tokens and are cut; the longest has {captions['longest']}"
        yield _problem("warning", "caption_cut", message, "shorten them, or put what matters first")


def _problem(level: str, code: str, message: str, fix: str) -> Json:
    return {"level": level, "code": code, "message": message, "fix": fix}
