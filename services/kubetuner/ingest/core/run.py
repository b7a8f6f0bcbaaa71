"""The stage ingest: from `spec.datasets` to a manifest, every picture counted once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from typing import Final

from kubetuner.artifacts import facts, manifest, objects
from kubetuner.artifacts.objects import ArtifactRef, Json, canonical, fingerprint
from kubetuner.context import StageContext
from kubetuner.errors import SpecError, SpecErrors
from kubetuner.ingest.core import decide, look, sharing, sources
from kubetuner.ingest.core.seen import Seen, scratch, writing
from kubetuner.ingest.core.sources import Source
from kubetuner.ingest.core.summary import Summary
from kubetuner.spec.keyed import keyed
from kubetuner.v1alpha1.training_run_pb2 import Dataset, TrainingRunSpec

_NOT_OF_THE_ROWS: Final = ("disabled", "repeats", "probability", "originalSize")
"""Fields of a dataset that only the training reads."""
CURES: Final = {
    "too_small": "lower minimumImageSize or give larger pictures",
    "aspect_out_of_range": "widen minimumAspectRatio and maximumAspectRatio, or crop the pictures",
    "unreadable": "replace the damaged files",
    "too_many_pixels": "save the pictures smaller",
    "too_many_bytes": "save the pictures smaller",
    "animated": "save single frames as pictures",
    "unsupported": "save the pictures with 8 or 16 bits",
    "caption_missing": "write the captions, or choose another captionStrategy",
    "caption_unreadable": "save the captions as UTF-8, in at most 1 MiB a file",
    "not_sampled": "raise maxNumSamples",
}
"""What to do about each reason of a row that is not used."""


def run(spec: TrainingRunSpec, source: ArtifactRef | None, ctx: StageContext) -> ArtifactRef:
    """List, look at and decide every picture; gives the manifest, at once where an equal one is there."""
    assert source is None, "ingest begins the flow"
    found = sources.list_all(spec, ctx.base, ctx.store)
    with scratch() as file:
        seen = Seen(file)
        if ctx.share.count > 1:
            return sharing.together(found, ctx, seen, lambda: _make(found, seen, spec, ctx))
        return _make(found, look.look(found, ctx, seen), spec, ctx)


def _make(found: Sequence[Source], seen: Seen, spec: TrainingRunSpec, ctx: StageContext) -> ArtifactRef:
    """The manifest of what was seen, or the equal one that is there."""
    datasets = [one.dataset for one in found]
    ref = reference(seen, datasets, seed=spec.seed)
    if objects.find(ctx.store, ref) is not None:
        return ref
    summary = Summary(found)
    with scratch() as file:
        with writing():
            rows = manifest.pack(summary.counted(decide.rows(seen.batches(), datasets, seed=spec.seed)), file)
        _require_pictures(found, summary.rows())
        with mmap(file.fileno(), 0, access=ACCESS_READ) as packed:
            return manifest.commit(ctx.store, ref, rows, packed, {"seed": spec.seed, "datasets": summary.rows()})


def reference(seen: Seen, datasets: Sequence[Dataset], *, seed: int) -> ArtifactRef:
    """Name of the manifest of what was seen: the datasets' keyed fields, every file's name, content and captions, and the seed."""
    sha = hashlib.sha256()
    for batch in seen.batches():
        for row in batch.select(["source", "path", "sha256", "reason", "captions"]).to_pylist():
            sha.update(canonical([row["source"], row["path"], row["sha256"].hex(), row["reason"], row["captions"]]) + b"\n")
    rules = [{name: value for name, value in keyed(dataset).items() if name not in _NOT_OF_THE_ROWS} for dataset in datasets]
    name = fingerprint(manifest.NOUN, manifest.FORMAT, facts.FORMAT, rules, seed, sha.hexdigest())
    return ArtifactRef(noun=manifest.NOUN, fingerprint=name)


def nothing_found(row: Json, source: Source) -> str:
    """Why a dataset gives no picture at all, and the cure."""
    if row["found"] == 0:
        others = sum(row["otherFiles"].values())
        there = f"{others} other files" if others else "nothing"
        return f"{source.dataset.source.uri!r} holds no pictures ({there}); give the folder or prefix that does"
    reasons = ", ".join(f"{count} {reason}" for reason, count in row["reasons"].items())
    return f"none of the {row['found']} pictures can be used ({reasons}): " + "; ".join(CURES[reason] for reason in row["reasons"])


def _require_pictures(found: Sequence[Source], summary: Sequence[Json]) -> None:
    faults = [
        SpecError(f"{one.path}.source.uri", nothing_found(row, one)) for one, row in zip(found, summary, strict=True) if not row["used"]
    ]
    if faults:
        raise SpecErrors(faults)
