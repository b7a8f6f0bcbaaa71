"""What `kubetuner run` makes of runs on this machine, for comparison: worked out beside the tests, on what they leave of its cores.

A module of tests names its runs in LAPTOP, by name: what they change in the spec of all. Runs of all modules that were chosen are made one
after another, in the tests' order, while the cluster is still at other things.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests import builders

LORA: Final = "lora.safetensors"
_ROOT: Final = Path(__file__).parents[2]
_PICTURES: Final = 12
# Small, but with more than one unit of work in each stage, so that it can be cut in the middle of each.
_PARTS: Final[dict[str, Any]] = {
    "embed": {"text": {"writeBatchSize": 4}, "vae": {"writeBatchSize": 4, "batchSize": 2}},
    "train": {"maxSteps": 12, "checkpoint": {"everySteps": 3, "keep": 2}, "gradientCheckpointing": False},
    "evaluate": {"prompts": ["a photograph of a cat", "a red house"], "steps": 4, "loss": {"numTimesteps": 2}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run has made, wherever it ran."""

    artifacts: Mapping[str, str]
    """Fingerprints by noun."""
    lora: bytes


@dataclass(slots=True, kw_only=True)
class Laptop:
    """A folder with data, a model and a store."""

    folder: Path
    _worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _outs: dict[str, Future[Path]] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Make pictures and a model."""
        builders.photographs(self.folder / "photographs", [(96, 96)] * _PICTURES)
        builders.tiny_model(self.folder / "tiny-sdxl")

    def begin(self, runs: Mapping[str, Mapping[str, Any]]) -> None:
        """Make these runs in the background, after those that were begun before."""
        for name, parts in runs.items():
            self._outs[name] = self._worker.submit(self._run, name, parts)

    def out(self, name: str) -> Path:
        """The folder that a run has given, once it has; an AssertionError with its words where it failed."""
        return self._outs[name].result()

    def outcome(self, name: str) -> Outcome:
        """What a run has made, once it has."""
        out = self.out(name)
        return Outcome(artifacts=json.loads((out / "result.json").read_text())["artifacts"], lora=(out / LORA).read_bytes())

    def close(self) -> None:
        """End what is still made."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        if self._process is not None:
            self._process.kill()
        self._worker.shutdown()

    def _run(self, name: str, parts: Mapping[str, Any]) -> Path:
        out = self.folder / f"out-{name}"
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(document(name, **parts)))
        kubetuner = [sys.executable, "-m", "kubetuner.cli.main", "run", file, "--store", self.folder / "store", "--out", out]
        settings = {**os.environ, "PYTHONPATH": str(_ROOT / "services"), "OMP_NUM_THREADS": "1"}
        command, pipe = ["nice", "-n", "5", *map(str, kubetuner)], subprocess.PIPE
        with subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=pipe, text=True) as self._process:
            _, said = self._process.communicate()
        assert self._process.returncode == 0, said[-4000:]
        return out


def document(name: str, **parts: Any) -> dict[str, Any]:
    """A run whose paths are those of a laptop's folder."""
    merged = copy.deepcopy(_PARTS)
    for key, value in parts.items():
        merged[key] = {**merged[key], **value} if isinstance(value, Mapping) and key in merged else value
    made = builders.run_document(**merged)
    made["metadata"]["name"] = name
    return made
