"""Ingest over many small files: how many a second, on one core and on two, and how much memory each takes."""

from __future__ import annotations

import io
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.figures import Figure
from benchmarks.material import Bench
from benchmarks.measure import child

_EDGE = 64
_A_FOLDER = 1000
_LONG = 20_000
_LEAST = 10_000
"""With fewer pictures than that, buffers of one size for all weigh more than what grows."""


def measure(bench: Bench) -> list[Figure]:
    """Rates for each number of files and of cores, and what the second core gives; growth of the peak from fewer to most files."""
    figures = []
    peaks: dict[int, float] = {}
    alone: dict[int, float] = {}
    available = len(os.sched_getaffinity(0))
    for count in bench.small_pictures:
        folder = _pictures(bench.folder / f"pictures-{count}", count)
        turns = [
            {cores: _ingest(bench, folder, cores) for cores in (1, 2) if cores <= available}
            for _ in range(1 if count > _LONG else min(3, bench.pairs))
        ]
        peaks[count] = max(account["peak"] for turn in turns for account in turn.values())
        for cores in turns[0]:
            rate = count / statistics.median(turn[cores]["seconds"] for turn in turns)
            alone.setdefault(count, rate)
            words = f"{cores} core" if cores == 1 else f"{cores} cores"
            figures.append(Figure(what=f"ingest of {count} files of {_EDGE}x{_EDGE}, {words}", value=rate, unit="images/s"))
        if available > 1:
            gain = statistics.median(turn[1]["seconds"] / turn[2]["seconds"] for turn in turns)
            figures.append(Figure(what=f"ingest of {count} files of {_EDGE}x{_EDGE}: images/s on 2 cores, to 1 core", value=gain))
    counts = sorted(bench.small_pictures)
    if len(counts) > 1:
        few, many = counts[-2:]
        growth = (peaks[many] - peaks[few]) / (many - few)
        aim = 300.0 if few >= _LEAST else None
        figures.append(Figure(what=f"ingest: peak memory an image, from {few} to {many}", value=growth, unit="B", at_most=aim))
        slower = alone[counts[0]] / alone[counts[-1]]
        figures.append(Figure(what=f"ingest: time an image at {counts[-1]}, to that at {counts[0]} (1 core)", value=slower))
    return figures


def _ingest(bench: Bench, folder: Path, cores: int) -> dict[str, Any]:
    document = bench.document(datasets=[{"id": "small", "source": {"uri": str(folder)}, "resolution": _EDGE, "resolutionType": "pixel"}])
    with bench.scratch() as root:
        account = child("ingest", {"document": document, "store": root}, cores=cores)
    assert account["read"] == int(folder.name.rpartition("-")[2]), account
    return account


def _pictures(folder: Path, count: int) -> Path:
    """So many different JPEGs, a thousand a folder; kept for the next run."""
    whole = folder / "whole"
    if whole.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    random = np.random.default_rng(0)
    base = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for number in range(count):
        base[number % 8, number // 8 % 8] = random.integers(0, 256, 3)
        image = Image.fromarray(base).resize((_EDGE, _EDGE), Image.Resampling.BILINEAR)
        data = io.BytesIO()
        image.save(data, "JPEG", quality=85, comment=str(number).encode())
        path = folder / f"{number // _A_FOLDER:04d}" / f"a_picture_of_number_{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.getvalue())
    whole.touch()
    return folder
