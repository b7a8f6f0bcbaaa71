"""Where the time goes from the start of `kubetuner run` to its first training step: imports, hashing, loading, the step itself.

Measured from outside: the functions that load and hash are watched, and so is Python's own import.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate", "pyarrow", "google.protobuf", "protovalidate")


class Imports:
    """Seconds inside import statements, lazy ones too; the outermost counts what it brings along."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    def timed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """An import function that counts."""

        def counting(*arguments: Any, **options: Any) -> Any:
            self._depth += 1
            begin = time.perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.seconds += time.perf_counter() - begin

        return counting

    @contextmanager
    def watching(self) -> Iterator[Imports]:
        """Count while entered."""
        plain, by_name = builtins.__import__, importlib.import_module
        builtins.__import__ = self.timed(plain)
        importlib.import_module = self.timed(by_name)
        try:
            yield self
        finally:
            builtins.__import__ = plain
            importlib.import_module = by_name


class FirstStep(BaseException):
    """The first training step is done: nothing after it is measured."""


class UntilFirstStep:
    """Progress that ends the run after a training step; tells when stages began to count."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self._stage = ""

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        """Another count."""
        self._stage = stage
        self.began.setdefault(stage, time.perf_counter())

    def advance(self, count: int = 1, **figures: float) -> None:
        """Some are done."""
        if self._stage == "train":
            raise FirstStep

    def note(self, message: str) -> None:
        """Nobody reads it."""


def to_first_step(file: Path, store: str, device: str) -> dict[str, Any]:
    """Seconds by part, what was loaded how often, and the work counters. The run must have maxSteps 1."""
    begin = time.perf_counter()
    with Imports().watching() as imports:
        import kubetuner.cli.main
        from benchmarks.measure import watched

        assert kubetuner.cli.main
        options = Namespace(file=str(file), overrides=[])
        from kubetuner.cli import verbs
        from kubetuner.context import StageContext
        from kubetuner.diffusion import malloc
        from kubetuner.storage import open_store

        run = verbs._resolved(options)
        resolved = time.perf_counter()
        from kubetuner import local

        malloc.keep_freed_memory(device)
        progress = UntilFirstStep()
        ctx = StageContext(store=open_store(store), base=file.parent, device=device, progress=progress)
        import kubetuner.diffusion.load as load
        import kubetuner.train.core.run as train

        with (
            watched(load, "_digest") as hashed,
            watched(train, "load_unet") as unets,
            watched(load, "load_vae") as autoencoders,
            watched(load, "load_text_encoders") as encoders,
            watched(train.Loop, "_step") as steps,
        ):
            try:
                local.run(run, file.parent / "out", ctx)
            except FirstStep:
                end = time.perf_counter()
    hashing, loading = sum(span.seconds for span in hashed), sum(span.seconds for span in unets)
    return {
        "import": imports.seconds,
        "hash": hashing,
        "load": loading,
        "step": steps[0].seconds,
        "spec": resolved - begin,
        "total": end - begin,
        "cpu": sum(os.times()[:2]),
        "loads": {"unet": len(unets), "vae": len(autoencoders), "text encoders": len(encoders)},
        "modules": [name for name in _HEAVY if name in sys.modules],
        "work": dict(ctx.work),
    }
