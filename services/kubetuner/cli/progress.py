"""Progress for people: bars with rate and time left on a terminal, a plain line now and then elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, Self

from kubetuner.context import Progress

_SECONDS_BETWEEN_LINES: Final = 5.0


class Shown(Progress, AbstractContextManager["Shown"], Protocol):
    """Progress that is on screen while it is entered."""


def choose(*, plain: bool) -> Shown:
    """Bars where stderr is a terminal and `plain` is not asked for."""
    return Lines() if plain or not sys.stderr.isatty() else Bars()


class Lines:
    """A line at the start and end of each count, and every few seconds between."""

    def __init__(self) -> None:
        self._stage, self._unit = "", ""
        self._total = self._done = self._before = 0
        self._started = self._said = 0.0
        self._figures: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        """A new count."""
        self._stage, self._unit, self._total, self._done, self._before = stage, unit, total, done, done
        self._figures = {}
        self._started = self._said = time.monotonic()
        kept = f", {done} of them done already" if done else ""
        self.note(f"{stage}: {total} {unit}{kept}")

    def advance(self, count: int = 1, **figures: float) -> None:
        """More is done."""
        self._done += count
        self._figures.update(figures)
        now = time.monotonic()
        if self._done < self._total and now - self._said < _SECONDS_BETWEEN_LINES:
            return
        self._said = now
        rate = (self._done - self._before) / max(now - self._started, 1e-9)
        left = (self._total - self._done) / rate if rate > 0 else 0.0
        shown = "".join(f"  {name} {value:.4g}" for name, value in self._figures.items())
        self.note(f"{self._stage}: {self._done}/{self._total} {self._unit}  {rate:.2f}/s  {left:.0f} s left{shown}")

    def note(self, message: str) -> None:
        """One line."""
        print(message, file=sys.stderr, flush=True)


class Bars:
    """A bar for each count."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._rich = RichProgress(
            TextColumn("{task.fields[stage]:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        """A new bar."""
        self._task = self._rich.add_task(unit, total=total, completed=done, stage=stage, figures="", rate="")

    def advance(self, count: int = 1, **figures: float) -> None:
        """The bar moves."""
        task = self._rich.tasks[self._task]
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items()) or task.fields["figures"]
        rate = f"{task.speed:.2f}/s" if task.speed else ""
        self._rich.update(self._task, advance=count, rate=rate, figures=shown)

    def note(self, message: str) -> None:
        """A line above the bars."""
        self._rich.console.print(message, style="yellow", highlight=False)
