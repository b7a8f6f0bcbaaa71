"""All pictures of a report: what is drawn by which weights, what stands beside it, and what both are like as numbers.

In: the prompts, the held-out pictures whose captions are prompts too, and who draws. Out: the pictures' names in the store and in the
report, and the parts of report.json that are about them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kubetuner.artifacts.objects import ArtifactRef, Json
from kubetuner.context import StageContext
from kubetuner.evaluate.core import images, measures
from kubetuner.evaluate.core.images import Drawer, Shot
from kubetuner.evaluate.core.shown import Shown, View
from kubetuner.v1alpha1.training_run_pb2 import Evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The pictures of one report."""

    shots: Sequence[Shot]
    """In the order of the page."""
    views: Sequence[int | None]
    """For each shot the position of its true picture among `shown.prompts`; None for a prompt of the run's own."""
    shown: Shown
    drawers: Sequence[Drawer]
    """The base model first."""
    settings: Json
    """What decides an image besides the shot and the weights."""

    def drawn(self, drawer: Drawer) -> list[ArtifactRef]:
        """Each shot by these weights."""
        return [images.reference(shot, self.settings, drawer.weights) for shot in self.shots]

    def missing(self, drawer: Drawer, ctx: StageContext) -> dict[ArtifactRef, Shot]:
        """What these weights have not drawn yet."""
        return images.missing(dict(zip(self.drawn(drawer), self.shots, strict=True)), ctx)

    @property
    def refs(self) -> list[ArtifactRef]:
        """Every picture in the store."""
        return [*(ref for drawer in self.drawers for ref in self.drawn(drawer)), *self.shown.refs]

    def files(self, ctx: StageContext) -> dict[str, bytes]:
        """Every picture by its name in the report, as PNG."""
        named = {_name(number, drawer): ref for drawer in self.drawers for number, ref in enumerate(self.drawn(drawer))}
        named |= {_true(number): view.ref for number, view in enumerate(self.shown.prompts)}
        named |= {_sheet(number): view.ref for number, view in enumerate(self.shown.sheet)}
        return {name: images.read(ref, ctx) for name, ref in named.items()}

    def document(self, ctx: StageContext) -> Json:
        """The parts of report.json that are about pictures; those that were not asked for are left out."""
        found: Json = {"images": [self._image(number, shot) for number, shot in enumerate(self.shots)]}
        if self.shown.sheet:
            found["contactSheet"] = [
                {"dataset": view.row["dataset"], "caption": view.caption, "image": _sheet(number)}
                for number, view in enumerate(self.shown.sheet)
            ]
        if self.shown.prompts:
            found["measures"] = self._measures(ctx)
        return found

    def _image(self, number: int, shot: Shot) -> Json:
        base, tuned, *others = self.drawers
        found: Json = {
            "prompt": shot.prompt,
            "negativePrompt": shot.negative_prompt,
            "width": shot.width,
            "height": shot.height,
            "seed": shot.seed,
            "base": _name(number, base),
            "tuned": _name(number, tuned),
        }
        if others:
            found["strengths"] = [{"scale": drawer.scale, "image": _name(number, drawer)} for drawer in others]
        if (place := self.views[number]) is not None:
            found |= {"dataset": self.shown.prompts[place].row["dataset"], "true": _true(place)}
        return found

    def _measures(self, ctx: StageContext) -> Json:
        """Of the captions of held-out pictures, by each of the weights."""
        true = [_pixels(images.read(view.ref, ctx)) for view in self.shown.prompts]
        own = [place for place in self.views if place is not None]
        rows = []
        for drawer in sorted(self.drawers, key=lambda one: one.scale):
            refs = [ref for ref, place in zip(self.drawn(drawer), self.views, strict=True) if place is not None]
            drawn = [_pixels(images.read(ref, ctx)) for ref in refs]
            found = measures.retrieval(measures.likeness(drawn, true), own)
            colourless = float(np.mean([measures.colourless(picture) for picture in drawn]))
            rows.append(
                {
                    "scale": drawer.scale,
                    "colourless": _round(colourless),
                    "rank": _round(found.mean_rank),
                    "first": _round(found.first),
                }
            )
        return {
            "images": len(own),
            "pictures": len(true),
            "colourlessBelow": measures.COLOURLESS_BELOW,
            "true": {"colourless": _round(float(np.mean([measures.colourless(picture) for picture in true])))},
            "drawn": rows,
        }


def plan(evaluate: Evaluate, shown: Shown, settings: Json, drawers: Sequence[Drawer]) -> Gallery:
    """The prompts of the run, and after them the captions of held-out pictures."""
    shots = images.shots(evaluate)
    places: list[int | None] = [None] * len(shots)
    for place, view in enumerate(shown.prompts):
        more = images.shots_of(evaluate, view.caption, *_size(view))
        shots += more
        places += [place] * len(more)
    return Gallery(shots=shots, views=places, shown=shown, drawers=drawers, settings=settings)


def _size(view: View) -> tuple[int, int]:
    return int(view.row["target_width"]), int(view.row["target_height"])


def _name(number: int, drawer: Drawer) -> str:
    return f"images/{number:03d}-{drawer.name}.png"


def _true(number: int) -> str:
    return f"images/true-{number:03d}.png"


def _sheet(number: int) -> str:
    return f"images/sheet-{number:03d}.png"


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _round(value: float) -> float:
    return float(f"{value:.6g}")
