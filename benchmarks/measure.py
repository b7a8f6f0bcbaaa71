"""Times and memory: two things in turn, functions watched from outside, processes of their own."""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Seconds of two things that were measured in turn."""

    ours: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        """Median over the pairs of ours to bare."""
        return statistics.median(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True))


def alternate(pairs: int, ours: Callable[[], float], bare: Callable[[], float]) -> Pairs:
    """Measure both `pairs` times, each first in every other pair; both return their seconds."""
    times: dict[Callable[[], float], list[float]] = {ours: [], bare: []}
    for number in range(pairs):
        for measured in (ours, bare) if number % 2 == 0 else (bare, ours):
            times[measured].append(measured())
    return Pairs(ours=times[ours], bare=times[bare])


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@dataclass(frozen=True, slots=True)
class Span:
    """When something ran, by time.perf_counter."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.begin

    def overlaps(self, other: Span) -> bool:
        """Whether both ran at a time."""
        return self.begin < other.end and other.begin < self.end


@contextmanager
def watched(owner: Any, name: str) -> Iterator[list[Span]]:
    """Notes each call of a function of a module or class from outside, so that the code measured needs no clocks of its own."""
    original = getattr(owner, name)
    spans: list[Span] = []

    @functools.wraps(original)
    def timed(*arguments: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            spans.append(Span(begin, time.perf_counter()))

    setattr(owner, name, timed)
    try:
        yield spans
    finally:
        setattr(owner, name, original)


def child(work: str, arguments: dict[str, Any], *, cores: int = 0, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a function of benchmarks/child.py in a process of its own, on so many cores (0: all); gives what it says.

    Its account gets `started`, by time.time, when the process was asked for.
    """
    return children(work, arguments, 1, cores=cores, variables=variables)[0]


def children(
    work: str, arguments: dict[str, Any], count: int, *, cores: int = 0, variables: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """`child`, so many at a time."""
    started = time.time()
    allowed = sorted(os.sched_getaffinity(0))[: cores or None]
    command = [sys.executable, "-m", "benchmarks.child", work, json.dumps({"cores": allowed, **arguments}, default=str)]
    surroundings = {**environment(), **(variables or {})}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings) for _ in range(count)]
    accounts = []
    for process in processes:
        said, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"benchmarks.child {work} ended with {process.returncode}")
        accounts.append({"started": started, **json.loads(said.splitlines()[-1])})
    return accounts


def environment() -> dict[str, str]:
    """For processes of our own: they find what this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "TRANSFORMERS_VERBOSITY": "error"}


def peak_bytes() -> int:
    """Most memory that this process has held. Not ru_maxrss: that remembers the process it was started from."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM; the memory rows need Linux")


def periods(spans: Sequence[Span]) -> list[Span]:
    """From the end of each span to the end of the next: what a loop takes for a turn, with all that it does between."""
    ends = [span.end for span in spans]
    return [Span(begin, end) for begin, end in pairwise(ends)]
