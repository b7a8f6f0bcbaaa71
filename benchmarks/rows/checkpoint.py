"""Steps while a checkpoint is written against steps while none is."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.material import Bench, cached
from benchmarks.measure import Span, periods, watched
from kubetuner.context import StageContext
from kubetuner.storage import Content, ObjectStore
from kubetuner.storage.directory import DirectoryStore
from kubetuner.train.core.loop import Loop
from kubetuner.train.core.run import run as train
from kubetuner.train.core.state import Writer

_EVERY = 20
"""Steps from one checkpoint to the next: often, and yet no oftener than one can be written beside them."""


class Uplink(DirectoryStore):
    """A folder behind a line of so many bytes a second."""

    def __init__(self, root: Path, bytes_per_second: float) -> None:
        super().__init__(root)
        self._rate = bytes_per_second

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        time.sleep((data.stat().st_size if isinstance(data, Path) else len(data)) / self._rate)
        return super().put(key, data, replace=replace, durable=durable)


def measure(bench: Bench) -> list[Figure]:
    """Ratios for a LoRA and for a full fine-tune, on a folder and over a slow line."""
    figures = []
    for kind, rate in (("lora", 0.0), ("full", 0.0), ("lora", 10e6)):
        with bench.store() as store:
            during, apart = _steps(bench, kind, store if rate == 0 else Uplink(store.root, rate))
        where = "in a folder" if rate == 0 else f"over a line of {rate / 1e6:g} MB/s"
        figures.append(
            Figure(
                what=f"step while a checkpoint is written ({kind}, {where}), to a step without",
                value=statistics.median(during) / statistics.median(apart),
                at_most=1.1,
            )
        )
    return figures


def _steps(bench: Bench, kind: str, store: ObjectStore) -> tuple[list[float], list[float]]:
    """Seconds of the steps at whose time a checkpoint was written, and of the others; copying the state counts to the step after it."""
    checkpoints = {"everySteps": _EVERY, "keep": 1}
    ctx: StageContext = bench.context(store)
    steps = max(2, bench.steps // 5) * _EVERY
    training = {"type": kind, "maxSteps": steps, "checkpoint": checkpoints} | ({} if kind == "lora" else {"lora": None})
    spec = bench.spec(train=training)
    source = cached(spec, ctx)
    with watched(Loop, "_step") as steps, watched(Writer, "_run") as writes:
        train(spec, source, ctx)
    turns = periods(steps)[1:]
    busy = [turn for turn in turns if any(map(turn.overlaps, writes))]
    return _seconds(busy), _seconds([turn for turn in turns if turn not in busy])


def _seconds(spans: list[Span]) -> list[float]:
    return [span.seconds for span in spans]
