"""What a row gives, and how it is shown: on the terminal, in build/bench.json, in docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number."""

    what: str
    """In words, as a line of the table."""
    value: float
    unit: str = "×"
    """`×` is a ratio of ours to the bare one."""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def aim(self) -> str:
        """What it must reach, in words; empty where it is only shown."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}"
        return "" if self.at_least is None else f"≥ {self.at_least:g} {self.unit}"

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least


def as_json(rows: Mapping[str, Sequence[Figure]]) -> dict[str, Any]:
    """The rows of bench.json."""
    return {
        name: [{**asdict(figure), "aim": figure.aim, "reached": figure.reached} for figure in figures] for name, figures in rows.items()
    }


def from_json(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Figure]]:
    """What `as_json` made rows of."""
    fields = Figure.__dataclass_fields__
    return {name: [Figure(**{key: row[key] for key in fields}) for row in figures] for name, figures in rows.items()}


def as_text(rows: Mapping[str, Iterable[Figure]]) -> str:
    """Lines for a terminal."""
    lines = []
    for name, figures in rows.items():
        for figure in figures:
            mark = {True: "ok", False: "MISSED", None: ""}[figure.reached]
            lines.append(f"{name:<12} {figure.what:<78} {number(figure.value):>9} {figure.unit:<9} {figure.aim:<14} {mark}".rstrip())
    return "\n".join(lines)


def as_markdown(rows: Mapping[str, Iterable[Figure]]) -> str:
    """A table for the documentation."""
    lines = ["| row | what | measured | must reach |", "|---|---|---:|---|"]
    for name, figures in rows.items():
        for figure in figures:
            missed = " **missed**" if figure.reached is False else ""
            lines.append(f"| `{name}` | {figure.what} | {number(figure.value)} {figure.unit}{missed} | {figure.aim} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
