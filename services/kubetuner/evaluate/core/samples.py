"""The pictures that the evaluation loss is measured on, and the embeddings of captions and prompts.

Everything comes from the pools that embed filled; what a mode other than `eager` left out is encoded here, and kept unless the mode
is `disabled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import torch

from kubetuner import draws
from kubetuner.artifacts import cache
from kubetuner.artifacts.cache import LATENTS, TEXTS, text_key
from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.objects import Json, fingerprint
from kubetuner.artifacts.pool import Item, Pool
from kubetuner.context import StageContext
from kubetuner.diffusion import latents
from kubetuner.diffusion.encoders import TextEncoder, VaeEncoder, unpack
from kubetuner.diffusion.pictures import Pictures, Row, geometry, key_of
from kubetuner.evaluate.core.images import Embedding
from kubetuner.evaluate.core.loss import Sample
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

_WITHOUT_HELD_OUT: Final = 16
"""Training pictures that are measured where no picture is held out and no number is asked for."""


def choose_rows(spec: TrainingRunSpec, manifest: Manifest) -> list[Row]:
    """The held-out pictures, and as many training pictures, chosen by the seed: the gap between the two shows over-fitting."""
    limit = spec.evaluate.loss.num_images
    held_out: list[Row] = []
    counts: dict[str, int] = {}
    for row in _rows(manifest.used("eval")):
        counts[row["dataset"]] = counts.get(row["dataset"], 0) + 1
        if not limit or counts[row["dataset"]] <= limit:
            held_out.append(row)
    trained = manifest.used("image")
    wanted = min(len(held_out) or limit or _WITHOUT_HELD_OUT, trained.num_rows)
    places = draws.permute_many(np.arange(wanted), trained.num_rows, spec.evaluate.seed, "evaluation rows")
    return held_out + _rows(trained.take(pa.array(np.sort(places))))


def _rows(table: pa.Table) -> list[Row]:
    rows: list[Row] = table.to_pylist()
    return rows


def load_samples(
    spec: TrainingRunSpec, rows: Iterable[Row], index: Json, texts: TextEncoder, vae: VaeEncoder, ctx: StageContext
) -> list[Sample]:
    """The rows as the U-Net is shown them; `index` is the cache's."""
    rows = list(rows)
    original_size = {dataset.id: dataset.original_size for dataset in spec.datasets}
    embeddings = embed(spec, [caption(row) for row in rows], cache.open_pool(ctx.store, index, TEXTS), texts, ctx)
    scaled = read_latents(spec, rows, index, vae, ctx)
    samples = []
    for row in rows:
        hidden, pooled = embeddings[caption(row)]
        sample = Sample(
            name=fingerprint(key_of(row), caption(row)),
            dataset=row["dataset"],
            held_out=row["kind"] == "eval",
            pixels=row["pixels"],
            latents=scaled[key_of(row)],
            hidden=hidden,
            pooled=pooled,
            time_ids=geometry(row).time_ids(original_size[row["dataset"]]),
        )
        samples.append(sample)
    return samples


def read_latents(spec: TrainingRunSpec, rows: Iterable[Row], index: Json, vae: VaeEncoder, ctx: StageContext) -> dict[str, torch.Tensor]:
    """The scaled mean latent [4, h, w] in fp32 of each row, by its key; `index` is the cache's."""
    rows = list(rows)
    pool = cache.open_pool(ctx.store, index, LATENTS)
    fresh = _encode_missing(spec, rows, pool, vae, ctx)
    found = {}
    for key in dict.fromkeys(map(key_of, rows)):
        item = fresh[key] if key in fresh else pool.read(key)
        found[key] = latents.mean(unpack(item["moments"]), vae.scaling)
    return found


def embed(spec: TrainingRunSpec, captions: Iterable[str], pool: Pool, encoder: TextEncoder, ctx: StageContext) -> dict[str, Embedding]:
    """The embedding of each caption."""
    wanted = sorted(set(captions))
    lacking = [caption for caption in wanted if pool.missing([text_key(caption)])]
    fresh: dict[str, Item] = {}
    for start in range(0, len(lacking), spec.embed.text.batch_size):
        ctx.check()
        batch = lacking[start : start + spec.embed.text.batch_size]
        fresh.update(zip(map(text_key, batch), encoder.encode(batch), strict=True))
        ctx.work["captionsEncoded"] += len(batch)
    if fresh and spec.embed.text.cache != "disabled":
        pool.write(fresh)
    items = {caption: fresh.get(text_key(caption)) or pool.read(text_key(caption)) for caption in wanted}
    return {caption: (unpack(item["hidden"]), unpack(item["pooled"])) for caption, item in items.items()}


def _encode_missing(spec: TrainingRunSpec, rows: Iterable[Row], pool: Pool, vae: VaeEncoder, ctx: StageContext) -> Mapping[str, Item]:
    lacking = {key: row for row in rows if pool.missing([key := key_of(row)])}
    if not lacking:
        return {}
    pictures = Pictures(spec.datasets, ctx.base, ctx.store)
    fresh: dict[str, Item] = {}
    for key, row in lacking.items():
        ctx.check()
        [fresh[key]] = vae.encode([pictures.load(row)], [f"{row['path']} of dataset {row['dataset']}"])
        ctx.work["imagesEncoded"] += 1
    if spec.embed.vae.cache != "disabled":
        by_shape: dict[tuple[int, ...], dict[str, Item]] = {}  # a shard holds items of one shape
        for key, item in fresh.items():
            by_shape.setdefault(item["moments"].shape, {})[key] = item
        for items in by_shape.values():
            pool.write(items)
    return fresh


def caption(row: Row) -> str:
    """The first caption of a row; nothing where it has none."""
    captions: list[str] = row["captions"]
    return captions[0] if captions else ""
