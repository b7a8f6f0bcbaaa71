"""A second run on the same data with another learning rate: it encodes nothing, and trains as soon as a program can that only loads."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.figures import Figure
from benchmarks.material import Bench, cached
from benchmarks.measure import alternate, child, environment
from kubetuner.diffusion.precision import choose_device, choose_dtype, dtype_name
from kubetuner.storage.directory import DirectoryStore

_FIRST_STEP = "train: 1/1"
_TORCH_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A store that holds the cache of the photographs, and runs over it that differ in their learning rate."""

    bench: Bench
    root: Path

    @classmethod
    @contextmanager
    def made(cls, bench: Bench) -> Iterator[Warm]:
        """With the cache in it."""
        with bench.scratch() as root:
            cached(bench.spec(), bench.context(DirectoryStore(root / "store")))
            yield cls(bench=bench, root=root)

    def file(self, number: int) -> Path:
        """A run of one step with a learning rate of its own."""
        path = self.root / f"run-{number}.yaml"
        document = self.bench.document(learning_rate=1e-4 * (1 + number / 1000), train={"maxSteps": 1})
        path.write_text(yaml.safe_dump(document))
        return path

    def arguments(self, number: int) -> dict[str, Any]:
        """What the child `start` takes."""
        return {"file": self.file(number), "store": self.root / "store", "device": self.bench.device}


def measure(bench: Bench) -> list[Figure]:
    """Work of a second run, and its first step against import plus load of the U-Net, both in fresh processes."""
    device = choose_device(bench.device)
    dtype = _TORCH_NAMES[dtype_name(choose_dtype("auto", device))]
    with Warm.made(bench) as warm:
        work = child("start", warm.arguments(0))["work"]
        numbers = iter(range(1, bench.pairs + 1))

        def ours() -> float:
            return _until_first_step(warm, next(numbers))

        def alone() -> float:
            account = child("bare-start", {"model": bench.model, "dtype": dtype, "device": device.type})
            return account["loaded"] - account["started"]

        pairs = alternate(bench.pairs, ours, alone)
    return [
        Figure(what="second run: captions encoded", value=work.get("captionsEncoded", 0), unit="", at_most=0),
        Figure(what="second run: images encoded", value=work.get("imagesEncoded", 0), unit="", at_most=0),
        Figure(what="second run: to the end of its first step, to import plus load", value=pairs.ratio, at_most=1.2),
        Figure(what="second run: to the end of its first step", value=statistics.median(pairs.ours), unit="s"),
        Figure(what="a process that imports torch, diffusers and PEFT and loads the U-Net", value=statistics.median(pairs.bare), unit="s"),
    ]


def _until_first_step(warm: Warm, number: int) -> float:
    """Seconds from the start of the command's process until it says that its first step is done; it is ended then."""
    command = [sys.executable, "-m", "kubetuner.cli.main", "run", str(warm.file(number)), "--json", "--device", warm.bench.device]
    command += ["--store", str(warm.root / "store"), "--out", str(warm.root / "out")]
    begin = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment()) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith(_FIRST_STEP):
                seconds = time.perf_counter() - begin
                process.kill()
                return seconds
    raise RuntimeError("kubetuner run ended before its first step:\n" + "".join(said))
