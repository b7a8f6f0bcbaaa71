"""Pictures of the datasets that the page shows, as the model sees them: cropped, and through the autoencoder.

They are decoded from the latents that the training reads, so that they can be shown where the sources cannot be read any more. Each is
decoded once for ever:

    images/<fingerprint>/image.png    keyed by the latent and its autoencoder
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import torch
from PIL import Image

from kubetuner.artifacts import objects
from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.context import StageContext
from kubetuner.diffusion.encoders import VaeEncoder
from kubetuner.diffusion.load import ModelSource, load_vae
from kubetuner.diffusion.pictures import Row, key_of
from kubetuner.evaluate.core import images, samples
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

_EDGE: Final = 128
"""Longest side of a picture of the contact sheet."""
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture to show."""

    row: Row
    """Of the manifest."""
    edge: int
    """Longest side that it is shown at; 0 is its own."""
    ref: ArtifactRef
    """Where it is kept."""

    @property
    def caption(self) -> str:
        """The first caption of the picture."""
        return samples.caption(self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """All pictures of the datasets that a report shows."""

    prompts: Sequence[View]
    """Held-out pictures whose captions are drawn."""
    sheet: Sequence[View]
    """Of the contact sheet."""

    @property
    def refs(self) -> list[ArtifactRef]:
        """Where they are kept, each once."""
        return list(dict.fromkeys(view.ref for view in (*self.prompts, *self.sheet)))


def choose(spec: TrainingRunSpec, manifest: Manifest, autoencoder: str) -> Shown:
    """Which pictures are shown, for `evaluate.datasetPrompts` and `evaluate.contactSheet`; `autoencoder` is its digest."""
    held_out = manifest.used("eval")
    names = held_out["dataset"].to_pylist()
    prompts = [
        view
        for name in dict.fromkeys(names)
        for view in _views(
            held_out.take(pa.array([row for row, of in enumerate(names) if of == name])), spec.evaluate.dataset_prompts, 0, autoencoder
        )
    ]
    return Shown(prompts=prompts, sheet=_views(manifest.used("image"), spec.evaluate.contact_sheet, _EDGE, autoencoder))


def spread(count: int, total: int) -> list[int]:
    """`count` of `total` positions, the middles of equal parts; all of them where there are no more."""
    count = min(count, total)
    return [int((number + 0.5) * total / count) for number in range(count)]


def _views(table: pa.Table, count: int, edge: int, autoencoder: str) -> list[View]:
    rows = table.take(pa.array(spread(count, table.num_rows), pa.int64())).to_pylist()
    return [
        View(
            row=row, edge=edge, ref=ArtifactRef(noun=images.NOUN, fingerprint=fingerprint("view", _FORMAT, key_of(row), autoencoder, edge))
        )
        for row in rows
    ]


def keep(
    shown: Shown, spec: TrainingRunSpec, embedded: Json, model: ModelSource, encoder: VaeEncoder, device: torch.device, ctx: StageContext
) -> None:
    """Decode and keep what is not there yet; `embedded` is the index of the cache."""
    wanted = {view.ref: view for view in (*shown.prompts, *shown.sheet) if objects.find(ctx.store, view.ref) is None}
    if not wanted:
        return
    latents = samples.read_latents(spec, [view.row for view in wanted.values()], embedded, encoder, ctx)
    vae = load_vae(model, dtype=torch.float32, device=device)
    for ref, view in wanted.items():
        ctx.check()
        png = images.png(images.decode(vae, latents[key_of(view.row)][None].to(device)), f"the latent of {view.row['path']}")
        objects.commit(ctx.store, ref, {"format": _FORMAT}, {images.NAME: _small(png, view.edge)})


def _small(png: bytes, edge: int) -> bytes:
    """The picture with no side longer than `edge`."""
    picture = Image.open(io.BytesIO(png))
    if not edge or max(picture.size) <= edge:
        return png
    picture.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()
