"""What drawn pictures are like, as numbers; arithmetic on pixels alone, so that no other model's taste decides.

Pictures are sRGB bytes [H, W, 3].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

COLOURLESS_BELOW: Final = 10.0
"""Chroma in CIELAB below which a pixel counts as colourless: white, grey and black, and tints that one has to look for."""
_SIDE: Final = 64
"""Edge that pictures are compared at."""
_PARTS: Final = 6
_DIRECTIONS: Final = 8
_WHITE: Final = np.array([0.95047, 1.0, 1.08883])  # D65 of sRGB
_TO_XYZ: Final = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])


def colourless(picture: np.ndarray) -> float:
    """Share of pixels whose chroma is below `COLOURLESS_BELOW`."""
    return float((chroma(picture) < COLOURLESS_BELOW).mean())


def chroma(picture: np.ndarray) -> np.ndarray:
    """C*ab = sqrt(a*² + b*²) of each pixel [H, W], in CIE 1976 L*a*b* (white point D65): 0 for greys, 105 for the purest red of sRGB."""
    value = picture / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29), -1, 0)
    found: np.ndarray = np.hypot(500 * (x - y), 200 * (y - z))
    return found


def likeness(drawn: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> np.ndarray:
    """Cosine of the edges of every drawn picture with those of every true one [drawn, true], from -1 to 1.

    From each the mean of all true pictures is taken first: what remains is what tells these pictures from one another, so that a picture in
    another style, whose edges are stronger or weaker throughout, is not like one of them by that alone.
    """
    right = np.stack([edges(picture) for picture in true])
    left = np.stack([edges(picture) for picture in drawn])
    found: np.ndarray = _of_length_one(left - right.mean(axis=0)) @ _of_length_one(right - right.mean(axis=0)).T
    return found


def edges(picture: np.ndarray) -> np.ndarray:
    """How much edge runs in each of 8 directions in each of 6 x 6 parts of a picture, [288]: histograms of oriented gradients
    (Dalal and Triggs 2005) of its value, the largest of the three channels, at 64 x 64 pixels. Pure colours are as light as paper there, so
    that a coloured area is no drawn one. Without their normalisation, so that a stroke weighs what it weighs."""
    value = Image.fromarray(picture.max(axis=2)).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    down, across = np.gradient(np.asarray(value, np.float64))
    place = np.arctan2(down, across) % np.pi / np.pi * _DIRECTIONS
    lower = np.floor(place).astype(int)
    share, strength = place - lower, np.hypot(down, across)
    found = [
        strength * (np.where(lower % _DIRECTIONS == direction, 1 - share, 0) + np.where((lower + 1) % _DIRECTIONS == direction, share, 0))
        for direction in range(_DIRECTIONS)
    ]
    return np.concatenate([_in_parts(one) for one in found])


def _in_parts(values: np.ndarray) -> np.ndarray:
    """Means over 6 x 6 equal parts; a pixel on a border counts to both by its share."""
    parts = Image.fromarray(values.astype(np.float32)).resize((_PARTS, _PARTS), Image.Resampling.BOX)
    return np.asarray(parts, np.float64).ravel()


def _of_length_one(rows: np.ndarray) -> np.ndarray:
    """Each row divided by its length; rows of nothing stay nothing."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    found: np.ndarray = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-9)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """How well drawn pictures find the true picture of their own caption among those of all captions."""

    first: float
    """Share of drawn pictures that are most like their own."""
    mean_rank: float
    """Mean place of their own in the order of likeness; 1 is the best, half of the number of pictures is chance."""


def retrieval(likeness: np.ndarray, own: Sequence[int]) -> Retrieval:
    """`own` holds for each row of `likeness` the column of its own true picture. Equally like ones share their places."""
    rows = np.arange(len(own))
    right = likeness[rows, own][:, None]
    ranks = 1 + (likeness > right).sum(axis=1) + ((likeness == right).sum(axis=1) - 1) / 2
    return Retrieval(first=float((ranks == 1).mean()), mean_rank=float(ranks.mean()))
