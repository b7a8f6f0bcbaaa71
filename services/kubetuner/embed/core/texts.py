"""Text embeddings of all distinct captions, the empty prompt, and the prompts that evaluate will ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pyarrow.compute as pc

from kubetuner.artifacts.cache import TEXTS, text_key
from kubetuner.artifacts.claims import Claims
from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.pool import Item, Pool
from kubetuner.context import StageContext
from kubetuner.diffusion.encoders import TextEncoder
from kubetuner.embed.core.sharing import shared
from kubetuner.embed.core.writing import Writing
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
    keyed = [{text_key(caption): caption for caption in group} for group in groups]
    missing = [{key: group[key] for key in pool.missing(group)} for group in keyed]
    total = sum(map(len, groups))
    ctx.progress.start("embed", "captions", total, total - sum(map(len, missing)))
    with ExitStack() as held, Writing(pool) as writing:
        for wanted, written in shared([group for group in missing if group], pool, Claims(store=ctx.store), held, ctx):
            items: dict[str, Item] = {}
            for keys in _chunks(list(wanted), spec.embed.text.batch_size):
                items.update(zip(keys, encoder.encode([wanted[key] for key in keys]), strict=True))
                ctx.progress.advance(len(keys))
            writing.write(items, written)
            ctx.work["captionsEncoded"] += len(items)
    return pool.shards(map(text_key, captions))


def _distinct(manifest: Manifest) -> list[str]:
    """Captions of all used pictures and the empty one, each once, sorted."""
    used = manifest.used()
    return sorted({"", *pc.unique(pc.list_flatten(used["captions"])).to_pylist()})


def _chunks(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
