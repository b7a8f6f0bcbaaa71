"""Text embeddings of all distinct captions, the empty prompt, and the prompts that evaluate will ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow.compute as pc

from kubetuner.artifacts.cache import TEXTS, text_key
from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.pool import Item, Pool
from kubetuner.context import StageContext
from kubetuner.diffusion.encoders import TextEncoder
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec


def fill(spec: TrainingRunSpec, manifest: Manifest, encoder: TextEncoder, ctx: StageContext) -> list[str]:
    """Encode what the pool lacks; return the shards that hold the manifest's captions."""
    pool = Pool(ctx.store, TEXTS, encoder.id)
    pool.refresh()
    captions = _distinct(manifest)
    prompts = [*spec.evaluate.prompts, spec.evaluate.negative_prompt] if spec.evaluate.prompts else []
    # The groups do not depend on what is in the pool: a killed run encodes the rest in the same batches as an undisturbed one.
    groups = [
        *_chunks(captions, spec.embed.text.write_batch_size),
        *_chunks(sorted(set(prompts) - set(captions)), spec.embed.text.write_batch_size),
    ]
    missing = [[caption for caption in group if pool.missing([text_key(caption)])] for group in groups]
    total = sum(map(len, groups))
    ctx.progress.start("embed", "captions", total, total - sum(map(len, missing)))
    for group in filter(None, missing):
        ctx.check()
        items: dict[str, Item] = {}
        for batch in _chunks(group, spec.embed.text.batch_size):
            items.update(zip(map(text_key, batch), encoder.encode(batch), strict=True))
            ctx.progress.advance(len(batch))
        pool.write(items)
        ctx.work["captionsEncoded"] += len(group)
    return pool.shards(map(text_key, captions))


def _distinct(manifest: Manifest) -> list[str]:
    """Captions of all used pictures and the empty one, each once, sorted."""
    used = manifest.used()
    return sorted({"", *pc.unique(pc.list_flatten(used["captions"])).to_pylist()})


def _chunks(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
