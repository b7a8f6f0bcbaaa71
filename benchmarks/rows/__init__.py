"""The rows: name, function, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.figures import Figure
from benchmarks.material import Bench
from benchmarks.rows import checkpoint, ingest, memory, pipeline, second, start, step, text, threads, unet, vae

ROWS: Final[dict[str, Callable[[Bench], Sequence[Figure]]]] = {
    "step": step.measure,
    "vae": vae.measure,
    "text": text.measure,
    "second": second.measure,
    "start": start.measure,
    "ingest": ingest.measure,
    "memory": memory.measure,
    "checkpoint": checkpoint.measure,
    "pipeline": pipeline.measure,
    "threads": threads.measure,
    "unet": unet.measure,
}
