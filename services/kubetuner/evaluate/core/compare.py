"""Pictures side by side on the page: what stands in a row, at which strengths of the LoRA, and what the measures come to in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kubetuner.artifacts.objects import Json

SMALL: Final = 160
"""Pictures with no side above this are shown enlarged, several rows beside each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One picture of a row."""

    image: str
    """Its name in the report."""
    label: str
    """On the picture."""
    what: str
    """Who drew it, in words."""
    scale: float | None
    """Strength of what was trained; None for a true picture."""


def cells(shot: Json, *, full: bool) -> list[Cell]:
    """From the base model over rising strengths to the true picture, where there is one."""
    drawn = [(0.0, shot["base"]), (1.0, shot["tuned"]), *((row["scale"], row["image"]) for row in shot.get("strengths", ()))]
    several = len(drawn) > 2
    found = [
        Cell(image=image, label=_label(scale, several=several, full=full), what=_what(scale), scale=scale) for scale, image in sorted(drawn)
    ]
    if "true" in shot:
        found.append(Cell(image=shot["true"], label="true", what="True picture", scale=None))
    return found


def is_small(shot: Json) -> bool:
    """Whether a shot is shown enlarged."""
    return max(shot["width"], shot["height"]) <= SMALL


def strengths(images: Sequence[Json]) -> list[float]:
    """Stops of the slider, from low to high; nothing where there is no other strength than that of the training."""
    others = {row["scale"] for shot in images for row in shot.get("strengths", ())}
    return sorted({0.0, 1.0, *others}) if others else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measure of what is drawn, before and after."""

    name: str
    before: str
    after: str
    beside: str
    """What to compare it with."""
    better: bool
    """Whether the change is in the direction of the true pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The measures of what is drawn by the captions of held-out pictures."""

    headlines: list[Figure]
    rows: list[tuple[str, str, str, str]]
    """Who drew, colourless pixels, own picture found first, mean place of the own picture."""
    images: int
    pictures: int
    threshold: float
    """Chroma below which a pixel counts as colourless."""


def figures(measures: Json | None) -> Figures | None:
    """The measures in words; None where nothing was measured."""
    if measures is None:
        return None
    pictures, true = measures["pictures"], measures["true"]["colourless"]
    base, tuned = (next(row for row in measures["drawn"] if row["scale"] == scale) for scale in (0, 1))
    headlines = [
        Figure(
            name="Colourless pixels",
            before=_share(base["colourless"]),
            after=_share(tuned["colourless"]),
            beside=f"the true pictures: {_share(true)}",
            better=abs(tuned["colourless"] - true) < abs(base["colourless"] - true),
        ),
        Figure(
            name="Most like its own true picture",
            before=_share(base["first"]),
            after=_share(tuned["first"]),
            beside=f"by chance: {_share(1 / pictures)}",
            better=tuned["first"] > base["first"],
        ),
        Figure(
            name="Place of its own true picture",
            before=f"{base['rank']:.1f}",
            after=f"{tuned['rank']:.1f}",
            beside=f"of {pictures}; by chance: {(pictures + 1) / 2:.1f}",
            better=tuned["rank"] < base["rank"],
        ),
    ]
    rows = [(_what(row["scale"]), _share(row["colourless"]), _share(row["first"]), f"{row['rank']:.1f}") for row in measures["drawn"]]
    rows.append(("True pictures", _share(true), "", ""))
    return Figures(headlines=headlines, rows=rows, images=measures["images"], pictures=pictures, threshold=measures["colourlessBelow"])


def _label(scale: float, *, several: bool, full: bool) -> str:
    if scale == 0:
        return "base"
    return f"LoRA × {scale:g}" if several and not full else "tuned"


def _what(scale: float) -> str:
    if scale == 0:
        return "Base model"
    return "Tuned model" if scale == 1 else f"Tuned model at strength {scale:g}"


def _share(value: float) -> str:
    """In percent, with a decimal where whole numbers would say all or nothing."""
    digits = 1 if 0 < value < 0.01 or 0.99 < value < 1 else 0
    return f"{100 * value:.{digits}f} %"
