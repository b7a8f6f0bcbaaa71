"""Line charts as plain numbers: paths in a square of 1000 x 1000 and labels at percentages, so that one drawing fits every width.

The page stretches the square over the space it has and sets the labels as text beside it; they stay readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_SIDE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line."""

    name: str
    kind: str
    """CSS class that gives it its colour."""
    values: Sequence[float]
    readable: bool = True
    """Whether its values are shown under the pointer and in the legend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A label on an axis."""

    label: str
    percent: float
    """Distance from the left, or from the top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What the template draws."""

    title: str
    unit: str
    """What the horizontal axis counts."""
    paths: list[tuple[Series, str]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    data: dict[str, Any]
    """For the script: places in percent, labels, and the values of each readable line as text."""


def line_chart(title: str, unit: str, xs: Sequence[float], series: Sequence[Series], *, number: str = ".4f", marks: bool = False) -> Chart:
    """A chart of lines over common `xs`; `number` formats values, `marks` labels every x instead of round numbers."""
    low, high = _range([value for line in series for value in line.values])
    left, right = (xs[0], xs[-1]) if xs[-1] > xs[0] else (xs[0] - 1, xs[0] + 1)
    across = [(x - left) / (right - left) for x in xs]

    def down(value: float) -> float:
        return (high - value) / (high - low)

    y_ticks = [Tick(label=_short(value), percent=round(100 * down(value), 2)) for value in nice_ticks(low, high, 4)]
    places = xs if marks and len(xs) <= 10 else nice_ticks(left, right, 5)
    x_ticks = [Tick(label=f"{x:g}", percent=round(100 * (x - left) / (right - left), 2)) for x in places]
    readable = [line for line in series if line.readable]
    return Chart(
        title=title,
        unit=unit,
        paths=[(line, _path(across, [down(value) for value in line.values])) for line in series],
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        data={
            "at": [round(100 * x, 2) for x in across],
            "label": [f"{unit} {x:g}" for x in xs],
            "lines": [
                {
                    "name": line.name,
                    "kind": line.kind,
                    "text": [format(value, number) for value in line.values],
                    "top": [round(100 * down(value), 2) for value in line.values],
                }
                for line in readable
            ],
        },
    )


def smooth(values: Sequence[float], width: int) -> list[float]:
    """Mean of the values around each one, `width` in all; at the ends of those there are."""
    half = width // 2
    return [sum(part) / len(part) for place in range(len(values)) if (part := values[max(0, place - half) : place + half + 1])]


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) within the range, about so many."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return (0.0 if 0 <= low < room else low - room), high + room


def _path(across: Sequence[float], down: Sequence[float]) -> str:
    points = [f"{_SIDE * x:.1f} {_SIDE * y:.1f}" for x, y in zip(across, down, strict=True)]
    return "M" + "L".join(points if len(points) > 1 else [f"0 {_SIDE * down[0]:.1f}", f"{_SIDE} {_SIDE * down[0]:.1f}"])


def _short(value: float) -> str:
    """A tick's label: 0.0001 as 1e-4, which people write for learning rates."""
    if value and abs(value) < 0.001:
        mantissa, _, exponent = f"{value:.10e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:g}"
