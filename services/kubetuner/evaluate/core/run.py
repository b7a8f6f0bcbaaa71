"""evaluate: show and measure what a training has learnt, and prove that its exports load.

run(spec, checkpoint, ctx) -> report
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from kubetuner.artifacts import cache, checkpoint, objects, report
from kubetuner.artifacts import manifest as manifests
from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.objects import ArtifactRef, Json
from kubetuner.context import StageContext
from kubetuner.diffusion.load import ModelSource, load_unet, open_model
from kubetuner.evaluate.core import bench as benches
from kubetuner.evaluate.core import document, export, full, images, weights
from kubetuner.evaluate.core import gallery as galleries
from kubetuner.evaluate.core.bench import Bench
from kubetuner.evaluate.core.gallery import Gallery
from kubetuner.spec.keyed import keyed
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

PARTS: Final = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_FORMAT: Final = 1


def run(spec: TrainingRunSpec, source: ArtifactRef | None, ctx: StageContext) -> ArtifactRef:
    """Images beside the base model's, a loss for each kept checkpoint, and verified exports; or find the finished report."""
    assert source is not None, "evaluate takes a checkpoint"
    model = open_model(spec.model, base=ctx.base, store=ctx.store)
    digests = {part: model.digest(part) for part in PARTS}
    target = report.reference(source, {"evaluate": keyed(spec.evaluate), "seed": spec.evaluate.seed}, digests)
    if objects.find(ctx.store, target) is not None:
        return target
    training = objects.load(ctx.store, source)
    embedded = objects.load(ctx.store, ArtifactRef(**training["source"]))
    manifest = manifests.read(ctx.store, cache.source(embedded))
    bench = benches.set_up(spec, model, training, embedded, manifest, ctx)
    gallery = galleries.plan(spec.evaluate, bench.shown, bench.settings, images.drawers(spec.evaluate, source.fingerprint, digests))
    tables, exports = _measure_all(bench, digests, gallery)
    content = _document(bench, source, manifest, tables, digests) | gallery.document(ctx)
    measured = [benches.table_ref(bench, weighed) for weighed in _weighed(bench, digests)]
    parts = [*gallery.refs, *measured, *bench.texts]
    return report.commit(ctx.store, target, checkpoint=source, parts=parts, exports=exports, document=content, images=gallery.files(ctx))


def _weighed(bench: Bench, digests: Json) -> list[object]:
    """What stands for the weights of the base model and of each kept state in the names of their losses."""
    return [["base", digests], *([row["fingerprint"], digests] for row in bench.training["steps"])]


def _measure_all(bench: Bench, digests: Json, gallery: Gallery) -> tuple[list[np.ndarray], Json]:
    """Losses of the base model and each checkpoint in turn, the images that are not drawn yet, and the exports' digests.

    The base comes first: a full fine-tune's weights take the place of its own.
    """
    ctx, steps = bench.ctx, bench.training["steps"]
    wanted = {drawer.name: gallery.missing(drawer, ctx) for drawer in gallery.drawers}
    base, *tuned = gallery.drawers
    benches.start(bench, sum(map(len, wanted.values())), _weighed(bench, digests))
    unet = load_unet(bench.model, dtype=bench.dtype, device=bench.device)
    tables = [benches.losses(bench, unet, ["base", digests])]
    benches.draw(bench, unet, wanted[base.name])
    for row in steps:
        state = weights.read_state(ctx.store, bench.training, row["fingerprint"])
        weights.wear(unet, bench.training, state)
        tables.append(benches.losses(bench, unet, [row["fingerprint"], digests]))
    assert row["fingerprint"] == bench.training["final"], "the last kept state is the final one"
    for drawer in tuned:
        with weights.strength(unet, drawer.scale):
            benches.draw(bench, unet, wanted[drawer.name])
    if bench.training["weights"] == "adapter":
        return tables, export.verify_lora(unet, bench.training, state)
    return tables, full.verify(bench.model, state)


def _document(bench: Bench, source: ArtifactRef, manifest: Manifest, tables: Sequence[np.ndarray], digests: Json) -> Json:
    steps = bench.training["steps"]
    models = [
        {
            "step": step,
            "fingerprint": name,
            "heldOut": document.score(table, bench.rows, held_out=True),
            "training": document.score(table, bench.rows, held_out=False),
            "improved": document.improved(tables[0], table, bench.rows, held_out=any(row.held_out for row in bench.rows)),
        }
        for step, name, table in zip(
            [None, *(row["step"] for row in steps)], [None, *(row["fingerprint"] for row in steps)], tables, strict=True
        )
    ]
    return {
        "formatVersion": _FORMAT,
        "notice": bench.model.notice(),
        "training": {
            "type": bench.spec.train.type,
            "steps": steps[-1]["step"],
            "averaged": bench.spec.train.HasField("ema"),
            "loss": bench.training["loss"],
            "adapter": bench.training.get("adapter"),
            "predictionType": bench.schedule.prediction_type,
            "curve": document.curve(checkpoint.history(bench.ctx.store, source, bench.training)),
        },
        "evaluation": {"timesteps": list(bench.timesteps), "seed": bench.spec.evaluate.seed, "models": models, **document.rank(models)},
        "sampling": bench.settings,
        "datasets": document.datasets(manifest),
        "artifacts": {
            "manifest": manifest.ref.fingerprint,
            "cache": bench.training["source"]["fingerprint"],
            "checkpoint": source.fingerprint,
        },
        "model": digests,
        "unet": _layout(bench.model),
        "versions": document.versions(),
    }


def _layout(model: ModelSource) -> Json:
    """What of the U-Net's config decides the names in a LoRA."""
    config = full.unet_config(model)
    return {key: config[key] for key in ("layers_per_block", "up_block_types")}
