"""Sizes, buckets and crops: how a picture of any size becomes one of a few sizes that SDXL trains on.

    source (w, h) ─ resize ─▶ resized (w, h), the source's own aspect ─ crop at (top, left) ─▶ target (w, h), multiples of 64

The rules are SimpleTuner's, so that its users get the buckets they know; where its documentation and its code differ (maximum size,
crop coordinates) the documentation is followed. Pure: no pixels, no files. What is random is drawn from the run's seed and the
picture's content, so a picture keeps its crop wherever and whenever it is read.

Sizes are (width, height) in pixels, crops (top, left) in pixels of the resized picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from kubetuner import draws

ALIGNMENT: Final = 64
"""Edges of targets are multiples of this."""
MAX_PIXELS: Final = 178_956_970
"""Most pixels of a picture, before and after the resize; the number at which Pillow suspects a decompression bomb."""
_SQUARE_EDGES: Final = ((0.25, 512), (0.5, 768), (1.0, 1024), (2.0, 1536), (4.0, 2048))
_SQUARE_TOLERANCE: Final = 0.05

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """How a dataset sizes and crops its pictures; fields and units as in the schema's Dataset."""

    resolution: float
    resolution_type: str = "pixel_area"
    minimum: float = 0.0
    maximum: float | None = None
    downsample: float | None = None
    minimum_aspect: float | None = None
    maximum_aspect: float | None = None
    crop: bool = False
    aspect: str = "square"
    style: str = "random"
    choices: tuple[tuple[float, float], ...] = ()
    """(aspect, weight) to choose from where `aspect` is closest or random."""
    max_upscale: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a picture's target comes from."""

    resized: Size
    crop: tuple[int, int]
    target: Size
    bucket: str
    note: str = ""
    """What the user should know about it; empty where all is as asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a picture is not used: a code for programs, a sentence for people."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """Centre of a face, as fractions of the picture's width and height."""

    across: float
    down: float


def place(source: Size, sizing: Sizing, *, seed: int, pixels: str, face: Face | None = None) -> Placement | Refusal:
    """Decide a picture's bucket, resize and crop, or why it is not used.

    `pixels` names the picture's content (its hash); with the seed it decides all that is random.
    """
    if (refusal := _too_small(source, sizing)) is not None:
        return refusal
    aspect, note = _aspect(source, sizing, seed, pixels)
    if aspect <= 0:
        return Refusal(reason="aspect_out_of_range", detail=f"{_words(source)} is too narrow for any bucket; crop it or take it out")
    target = _target(sizing, aspect)
    bucket = str(round(target[0] / target[1], 2))
    if (refusal := _out_of_range(source, bucket, sizing)) is not None:
        return refusal
    resized = _resized(source, target, aspect, sizing)
    if resized[0] * resized[1] > MAX_PIXELS:
        detail = f"{_words(source)} would be resized to {_words(resized)} before its crop to {_words(target)}; crop it or take it out"
        return Refusal(reason="aspect_out_of_range", detail=detail)
    crop = crop_position(resized, target, sizing.style, seed=seed, pixels=pixels, face=face)
    return Placement(resized=resized, crop=crop, target=target, bucket=bucket, note=note)


def align(edge: float) -> int:
    """The nearest multiple of 64, halves to the even one, at least 64."""
    return max(ALIGNMENT, ALIGNMENT * round(edge / ALIGNMENT))


def rounded_aspect(size: Size) -> float:
    """Width over height with two decimals: what buckets are made of."""
    return round(size[0] / size[1], 2)


def megapixels(value: float, resolution_type: str) -> float:
    """A size of type `area` or `pixel_area` in megapixels; an edge of the latter is that of a square."""
    return value * value / 1e6 if resolution_type == "pixel_area" else value


def target_size(aspect: float, resolution: float, resolution_type: str) -> Size:
    """Target of an aspect (width over height)."""
    if resolution_type == "pixel":
        width, height = _pixel_edges(aspect, resolution)
        return align(width), align(height)
    edge = align(int(math.sqrt(megapixels(resolution, resolution_type) * 1e6)))
    return align(edge * math.sqrt(aspect)), align(edge / math.sqrt(aspect))


def square_size(resolution: float, resolution_type: str) -> Size:
    """Target of a square crop; five sizes of `area` have edges of their own."""
    if resolution_type == "pixel":
        return align(resolution), align(resolution)
    area = megapixels(resolution, resolution_type)
    for size, edge in _SQUARE_EDGES:
        if abs(area - size) <= _SQUARE_TOLERANCE:
            return edge, edge
    edge = align(math.sqrt(area * 1e6))
    return edge, edge


def resized_size(source: Size, target: Size, aspect: float, resolution: float, resolution_type: str) -> Size:
    """Size before the crop to a target of this aspect: the source's own aspect, and no smaller than the target in either edge."""
    ratio = source[0] / source[1]
    if resolution_type == "pixel":
        width, height = _pixel_edges(aspect, resolution)
        resized = _cover_pixel(ratio, target, max(target[0], width), max(target[1], height))
    else:
        resized = _cover_area(ratio, target)
    return max(resized[0], target[0]), max(resized[1], target[1])


def crop_position(resized: Size, target: Size, style: str, *, seed: int, pixels: str, face: Face | None = None) -> tuple[int, int]:
    """(top, left) of the crop. A picture without a face is cropped at a random place where `style` is face."""
    across, down = resized[0] - target[0], resized[1] - target[1]
    assert min(across, down) >= 0, f"{resized} does not cover {target}"
    if style == "corner" or across == down == 0:  # a draw takes longer than all else of a row
        return 0, 0
    if style in ("centre", "center"):
        return down // 2, across // 2
    if style == "face" and face is not None:
        top = round(face.down * resized[1] - target[1] / 2)
        left = round(face.across * resized[0] - target[0] / 2)
        return min(max(top, 0), down), min(max(left, 0), across)
    assert style in ("random", "face"), style
    top, left = draws.generator(seed, "crop", pixels).integers(0, [down + 1, across + 1])
    return int(top), int(left)


def _aspect(source: Size, sizing: Sizing, seed: int, pixels: str) -> tuple[float, str]:
    """Aspect of the target, and a note where it is not the one asked for."""
    own = rounded_aspect(source)
    if not sizing.crop or sizing.aspect == "preserve":
        return own, ""
    if sizing.aspect == "square":
        return 1.0, ""
    choices = [choice for choice in sizing.choices if _within_upscale(source, choice[0], sizing)]
    if not choices:
        return 1.0, "every aspect of cropAspectBuckets needs more enlargement than maxUpscaleThreshold allows; 1.0 is used"
    if sizing.aspect == "closest":
        return min((aspect for aspect, _ in choices), key=lambda aspect: abs(aspect - own)), ""
    assert sizing.aspect == "random", sizing.aspect
    mark = draws.generator(seed, "crop aspect", pixels).random() * sum(weight for _, weight in choices)
    for aspect, weight in choices:
        mark -= weight
        if mark < 0:
            return aspect, ""
    return choices[-1][0], ""


def _within_upscale(source: Size, aspect: float, sizing: Sizing) -> bool:
    if sizing.max_upscale is None:
        return True
    target = target_size(aspect, sizing.resolution, sizing.resolution_type)
    return all(edge <= own * (1 + sizing.max_upscale) for edge, own in zip(target, source, strict=True))


def _target(sizing: Sizing, aspect: float) -> Size:
    if sizing.crop and sizing.aspect == "square":
        return square_size(sizing.resolution, sizing.resolution_type)
    return target_size(aspect, sizing.resolution, sizing.resolution_type)


def _resized(source: Size, target: Size, aspect: float, sizing: Sizing) -> Size:
    if sizing.crop and sizing.aspect == "square":
        plain = _shorter_edge(source, target[0])
    else:
        plain = resized_size(source, target, aspect, sizing.resolution, sizing.resolution_type)
    if not sizing.crop or sizing.downsample is None or not _above_maximum(source, sizing):
        return plain
    own = max(rounded_aspect(source), 0.01)
    whole = target_size(own, sizing.downsample, sizing.resolution_type)
    scene = resized_size(source, whole, own, sizing.downsample, sizing.resolution_type)
    if scene[0] > source[0]:  # a size to come down to: it enlarges nothing
        scene = source
    return scene if scene[0] >= plain[0] and scene[1] >= plain[1] else plain


def _shorter_edge(source: Size, edge: int) -> Size:
    ratio = source[0] / source[1]
    return (max(edge, int(edge * ratio)), edge) if ratio >= 1 else (edge, max(edge, int(edge / ratio)))


def _pixel_edges(aspect: float, edge: float) -> Size:
    """Size of an aspect whose shorter edge is given."""
    short = int(edge)
    return (short, int(short / aspect)) if aspect < 1 else (int(short * aspect), short)


def _cover_pixel(ratio: float, target: Size, width: int, height: int) -> Size:
    if ratio >= 1:
        across = int(height * ratio)
        return (across, height) if across >= target[0] else (target[0], int(target[0] / ratio))
    down = int(width / ratio)
    return (width, down) if down >= target[1] else (int(target[1] * ratio), target[1])


def _cover_area(ratio: float, target: Size) -> Size:
    goal_width, goal_height = target
    if goal_width < goal_height:
        width, height = goal_width, int(goal_width / ratio)
    else:
        width, height = int(goal_height * ratio), goal_height
    if width < goal_width:
        more = goal_width - width
        return goal_width, height + int(more / ratio)
    if height < goal_height:
        more = goal_height - height
        return width + int(more * ratio), goal_height
    return width, height


def _too_small(source: Size, sizing: Sizing) -> Refusal | None:
    if sizing.minimum <= 0:
        return None
    if sizing.resolution_type == "pixel":
        if min(source) >= sizing.minimum:
            return None
        return Refusal(reason="too_small", detail=f"{_words(source)} has an edge below minimumImageSize {sizing.minimum:g} pixels")
    area = megapixels(sizing.minimum, sizing.resolution_type) * 1e6
    if source[0] * source[1] < area:
        detail = f"{_words(source)} is {source[0] * source[1] / 1e6:.3g} megapixels, below minimumImageSize {area / 1e6:.3g}"
        return Refusal(reason="too_small", detail=detail)
    edge = math.floor(math.sqrt(area))
    if sizing.crop and sizing.aspect == "square" and min(source) < edge:
        return Refusal(reason="too_small", detail=f"{_words(source)} has an edge below {edge} pixels, the square of minimumImageSize")
    return None


def _above_maximum(source: Size, sizing: Sizing) -> bool:
    if sizing.maximum is None:
        return False
    if sizing.resolution_type == "pixel":
        return min(source) > sizing.maximum
    return source[0] * source[1] > megapixels(sizing.maximum, sizing.resolution_type) * 1e6


def _out_of_range(source: Size, bucket: str, sizing: Sizing) -> Refusal | None:
    low, high, aspect = sizing.minimum_aspect, sizing.maximum_aspect, float(bucket)
    if (low is None or aspect >= low) and (high is None or aspect <= high):
        return None
    bounds = f"{'any' if low is None else format(low, 'g')} to {'any' if high is None else format(high, 'g')}"
    return Refusal(reason="aspect_out_of_range", detail=f"{_words(source)} falls into bucket {bucket}, outside the aspect ratios {bounds}")


def _words(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
