"""Whole runs over gRPC and as pods, for tests: requests by stage, a pod as a process, a run through four standing rooms."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubetuner.flow import STAGES
from tests.builders import photographs, run_document

SIZES = [(64, 64), (128, 64), (70, 90), (64, 64), (200, 200), (64, 128)]


def a_request(stage: str, spec: Mapping[str, Any], source: Mapping[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    """A Start request as JSON; the request's id is `run-<stage>-1` where none is given."""
    request = {"spec": dict(spec), "requestId": f"run-{stage}-1", "run": "default/tiny", "attempt": 1, **fields}
    return request if source is None else {**request, "source": dict(source)}


@dataclass
class Pods:
    """A folder with pictures and a model, a store in it, and the processes of pods that work on it."""

    base: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False)

    @property
    def store(self) -> Path:
        return self.base / "store"

    def start(self, stage: str, request: Mapping[str, Any] | str, **environment: str) -> Pod:
        """A pod at work."""
        name = f"{stage}-{len(list(self.base.glob('*.request.json')))}"
        path = self.base / f"{name}.request.json"
        path.write_text(request if isinstance(request, str) else json.dumps(request))
        said = self.base / f"{name}.termination"
        variables = {
            **self._surroundings(),
            "KUBETUNER_STORE": str(self.store),
            "KUBETUNER_REQUEST": str(path),
            "KUBETUNER_LISTEN": "127.0.0.1:0",
            "KUBETUNER_HEALTH_LISTEN": "127.0.0.1:0",
            "KUBETUNER_TERMINATION_LOG": str(said),
            "KUBETUNER_CACHE": str(self.base / "cache"),
            "KUBETUNER_DEVICE": "cpu",
            **self.environment,
            **environment,
        }
        log = self.base / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen([sys.executable, "-m", f"kubetuner.{stage}"], cwd=self.base, env=variables, stdout=out, stderr=out)
        self._started.append(process)
        return Pod(process, said, log)

    def kill(self) -> None:
        """End those that are still at work, as they are where a test fails."""
        for process in self._started:
            process.kill()
            process.wait()

    def command(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that has ended, run where pods run, on as many threads."""
        line = [sys.executable, "-m", module, *arguments]
        return subprocess.run(line, cwd=self.base, env=self._surroundings(), capture_output=True, text=True, check=False, timeout=300.0)

    def _surroundings(self) -> dict[str, str]:
        """One thread: sums come in another order with another number, and threads that wait for each other on busy cores take for ever."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

    def run(self, stage: str, request: Mapping[str, Any] | str, **environment: str) -> Pod:
        """A pod that has ended."""
        pod = self.start(stage, request, **environment)
        pod.wait()
        return pod


@dataclass
class Pod:
    """A process of a pod."""

    process: subprocess.Popen[bytes]
    said: Path
    _log: Path

    def wait(self, seconds: float = 180.0) -> int:
        return self.process.wait(seconds)

    @property
    def message(self) -> dict[str, Any]:
        """Its termination message."""
        found: dict[str, Any] = json.loads(self.said.read_text())
        return found

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its log, line by line; every one must be JSON."""
        return [json.loads(line) for line in self.log.splitlines()]


def furnish(base: Path, model: Path, sizes: Sequence[tuple[int, int]] = SIZES) -> None:
    """Pictures and a model in a folder."""
    photographs(base / "photographs", sizes)
    (base / "tiny-sdxl").symlink_to(model)


def spec(**parts: Any) -> dict[str, Any]:
    """The spec of a small run, as given."""
    found: dict[str, Any] = run_document(**parts)["spec"]
    return found


def as_controller(given: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
    """The spec for the stages after ingest: the model is the one that it brought."""
    return {**given, "model": {"family": "sdxl", "path": f"store:model/{message['model']['fingerprint']}"}}


def through(
    pods: Pods, given: Mapping[str, Any], stages: Sequence[str] = tuple(stage.name for stage in STAGES)
) -> dict[str, dict[str, Any]]:
    """The stages in order, a pod each; returns their termination messages."""
    said: dict[str, dict[str, Any]] = {}
    source: dict[str, str] | None = None
    now = dict(given)
    for stage in stages:
        pod = pods.run(stage, a_request(stage, now, source))
        assert pod.process.returncode == 0, pod.log
        said[stage] = pod.message
        source = said[stage]["result"]
        if stage == "ingest":
            now = as_controller(given, said[stage])
    return said
