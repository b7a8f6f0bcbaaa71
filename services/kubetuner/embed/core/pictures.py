"""Latents of all used pictures, in shards of one size each; decoding runs ahead in threads while the device encodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from os import cpu_count
from typing import Final

import numpy as np

from kubetuner.artifacts.cache import LATENTS
from kubetuner.artifacts.claims import Claims
from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.pool import Item, Pool
from kubetuner.context import StageContext
from kubetuner.diffusion.encoders import VaeEncoder
from kubetuner.diffusion.pictures import Pictures, Row, key_of
from kubetuner.diffusion.precision import memory_explained
from kubetuner.embed.core.sharing import shared
from kubetuner.embed.core.writing import Writing
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

_COLUMNS: Final = [
    "dataset", "path", "sha256", "pixels", "width", "height", "resized_width", "resized_height",
    "crop_top", "crop_left", "target_width", "target_height",
]  # fmt: skip
_BATCHES_AHEAD: Final = 3


def fill(spec: TrainingRunSpec, manifest: Manifest, vae: VaeEncoder, ctx: StageContext) -> list[str]:
    """Encode what the pool lacks; return the shards that hold the manifest's pictures."""
    pool = Pool(ctx.store, LATENTS, vae.id)
    pool.refresh()
    groups = list(_groups(manifest, spec.embed.vae.write_batch_size))
    missing = [{key: group[key] for key in pool.missing(group)} for group in groups]
    total = sum(map(len, groups))
    ctx.progress.start("embed", "images", total, total - sum(map(len, missing)))
    pictures = Pictures(spec.datasets, ctx.base, ctx.store)
    with (
        ThreadPoolExecutor(max_workers=max(1, min(8, cpu_count() or 1)), thread_name_prefix="decode") as threads,
        ExitStack() as held,
        Writing(pool) as writing,
    ):
        for group, written in shared([group for group in missing if group], pool, Claims(store=ctx.store), held, ctx):
            items = _encode(group, spec.embed.vae.batch_size, pictures, vae, threads, ctx)
            writing.write(items, written)
            ctx.work["imagesEncoded"] += len(items)
    return pool.shards(key for group in groups for key in group)


def _encode(
    group: dict[str, Row], batch_size: int, pictures: Pictures, vae: VaeEncoder, threads: ThreadPoolExecutor, ctx: StageContext
) -> dict[str, Item]:
    """The items of a shard."""
    items: dict[str, Item] = {}
    for keys, pixels in _decoded(list(group), group, batch_size, pictures, threads):
        ctx.check()
        names = [f"{group[key]['path']} of dataset {group[key]['dataset']}" for key in keys]
        with memory_explained("lower embed.vae.batchSize and run again"):
            items.update(zip(keys, vae.encode(pixels, names), strict=True))
        ctx.progress.advance(len(keys))
    return items


def _groups(manifest: Manifest, size: int) -> Iterator[dict[str, Row]]:
    """Rows of one target size, by latent key, in the shards they belong to. Depends on the manifest alone, not on what is encoded."""
    by_size: dict[tuple[int, int], dict[str, Row]] = {}
    for row in manifest.used().select(_COLUMNS).to_pylist():
        by_size.setdefault((row["target_width"], row["target_height"]), {}).setdefault(key_of(row), row)
    for _, rows in sorted(by_size.items()):
        keys = sorted(rows)
        for start in range(0, len(keys), size):
            yield {key: rows[key] for key in keys[start : start + size]}


def _decoded(
    keys: Sequence[str], rows: dict[str, Row], batch_size: int, pictures: Pictures, threads: ThreadPoolExecutor
) -> Iterator[tuple[Sequence[str], list[np.ndarray]]]:
    """Batches of keys with their pixels; a few batches are decoded ahead."""
    batches = [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
    ahead: deque[list[Future[np.ndarray]]] = deque()
    for position, batch in enumerate(batches):
        while len(ahead) < _BATCHES_AHEAD and position + len(ahead) < len(batches):
            ahead.append([threads.submit(pictures.load, rows[key]) for key in batches[position + len(ahead)]])
        yield batch, [future.result() for future in ahead.popleft()]
