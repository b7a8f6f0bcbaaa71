"""Runs of KubeTuner in the cluster, for tests: data and model in its store, TrainingRuns by kubectl, and what a laptop makes of them."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests import builders
from tests.cluster.kubectl import Kubectl, until
from tests.cluster.object_store import ObjectStore
from tests.cluster.processes import ClusterError
from tests.cluster.release import TEAM, Release

STAGES: Final = ("ingest", "embed", "train", "evaluate")
OVER: Final = ("Succeeded", "Failed", "Cancelled")
LORA: Final = "lora.safetensors"
_ROOT: Final = Path(__file__).parents[2]
_PICTURES: Final = 12
_SECONDS: Final = 300
# Small, but with more than one unit of work in each stage, so that it can be cut in the middle of each.
_PARTS: Final[dict[str, Any]] = {
    "embed": {"text": {"writeBatchSize": 4}, "vae": {"writeBatchSize": 4, "batchSize": 2}},
    "train": {"maxSteps": 12, "checkpoint": {"everySteps": 3, "keep": 2}, "gradientCheckpointing": False},
    "evaluate": {"prompts": ["a photograph of a cat", "a red house"], "steps": 4},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run has made, wherever it ran."""

    artifacts: Mapping[str, str]
    """Fingerprints by noun."""
    lora: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A release, its store with data, and a folder with the same data."""

    release: Release
    folder: Path

    @property
    def kubectl(self) -> Kubectl:
        return self.release.cluster.kubectl

    @property
    def store(self) -> ObjectStore:
        return self.release.cluster.store

    def prepare(self) -> None:
        """Make pictures and a model, and bring both into the store."""
        builders.photographs(self.folder / "photographs", [(96, 96)] * _PICTURES)
        if not (self.folder / "tiny-sdxl").exists():
            builders.tiny_model(self.folder / "tiny-sdxl")
        for name, prefix in (("photographs", "datasets/photographs/"), ("tiny-sdxl", "models/tiny-sdxl/")):
            target = self.store.store(prefix)
            for file in sorted((self.folder / name).rglob("*")):
                if file.is_file():
                    target.put(str(file.relative_to(self.folder / name)), file.read_bytes())

    def laptop(self, name: str, **parts: Any) -> Outcome:
        """What `kubetuner run` makes of a run, in a process of the host with a folder as its store."""
        out = self.folder / f"out-{name}"
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(_document(name, **parts)))
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "kubetuner.cli.main",
            "run",
            file,
            "--store",
            self.folder / "store",
            "--out",
            out,
        ]
        settings = {**os.environ, "PYTHONPATH": str(_ROOT / "services"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=self.folder, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return Outcome(artifacts=json.loads((out / "result.json").read_text())["artifacts"], lora=(out / LORA).read_bytes())

    def apply(self, name: str, **parts: Any) -> None:
        """Apply the run to the cluster, with the store's addresses."""
        self.kubectl.apply(self.document(name, **parts), namespace=TEAM)

    def document(self, name: str, **parts: Any) -> dict[str, Any]:
        """The run with the store's addresses."""
        document = _document(name, **parts)
        document["spec"]["model"]["path"] = "store:models/tiny-sdxl"
        for dataset in document["spec"]["datasets"]:
            dataset["source"]["uri"] = f"store:datasets/{dataset['source']['uri']}"
        return document

    def forget(self, name: str) -> None:
        """Remove a run and all that any run has put into the store, so that the next of this name begins from nothing."""
        self.kubectl("--namespace", TEAM, "delete", "trainingrun", name, "--ignore-not-found", "--cascade=foreground", "--timeout=60s")
        store = self.store.store()
        for found in list(store.list("")):
            if not found.key.startswith(("datasets/", "models/")):
                store.delete(found.key)

    def status(self, name: str) -> dict[str, Any]:
        """A run's status; empty before the controller has seen it."""
        found = self.kubectl.get("trainingrun", name, TEAM)
        return (found or {}).get("status", {})

    def until(self, name: str, *phases: str, seconds: float = _SECONDS) -> dict[str, Any]:
        """A run's status as soon as it is in one of these phases; an error that tells all where it is over in another."""

        def look() -> dict[str, Any] | None:
            status = self.status(name)
            if status.get("phase") in OVER and status["phase"] not in phases:
                raise ClusterError(f"{name} is {status['phase']}\n{self.story(name)}")
            return status if status.get("phase") in phases else None

        try:
            return until(look, f"{name} {' or '.join(phases)}", seconds)
        except ClusterError as fault:
            raise ClusterError(f"{fault}\n{self.story(name)}") from None

    def until_pod(self, name: str, stage: str, seconds: float = _SECONDS) -> str:
        """The name of the running pod of a run's stage."""
        selector = f"kubetuner.dev/run={name},kubetuner.dev/stage={stage}"

        def look() -> str | None:
            pods = self.kubectl.list("pods", TEAM, selector)
            return next((pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"), None)

        return until(look, f"a running pod of {name}'s {stage}", seconds)

    def until_stored(self, prefix: str, count: int, seconds: float = _SECONDS) -> Sequence[str]:
        """The keys of the store below a prefix, as soon as there are so many."""

        def look() -> Sequence[str] | None:
            keys = [found.key for found in self.store.store().list(prefix)]
            return keys if len(keys) >= count else None

        return until(look, f"{count} objects below {prefix}", seconds)

    def jobs(self, name: str) -> Sequence[str]:
        """Names of the Jobs that a run has made, in the order of their making."""
        jobs = self.kubectl.list("jobs", TEAM, f"kubetuner.dev/run={name}")
        return [job["metadata"]["name"] for job in sorted(jobs, key=lambda job: job["metadata"]["creationTimestamp"])]

    def outcome(self, name: str) -> Outcome:
        """What a run that succeeded has put into the store."""
        artifacts: dict[str, str] = self.status(name)["artifacts"]
        store = self.store.store()
        for found in store.list("outputs/"):
            if found.key.endswith("/index.json"):
                index = json.loads(store.get(found.key))
                if index["source"]["fingerprint"] == artifacts["report"] and index["name"] == name:
                    return Outcome(artifacts=artifacts, lora=store.get(found.key.replace("index.json", LORA)))
        raise ClusterError(f"the store has no outputs of {name}")

    def story(self, name: str) -> str:
        """All that can be said about a run that went wrong."""
        ask = self.kubectl.run
        described = ask("--namespace", TEAM, "describe", "trainingrun", name, check=False).stdout[-3000:]
        pods = ask("--namespace", TEAM, "get", "pods", "-o", "wide", check=False).stdout
        logs = ask("--namespace", TEAM, "logs", "--selector", f"kubetuner.dev/run={name}", "--tail=30", "--prefix", check=False).stdout
        return f"{described}\n{pods}\n{logs[-5000:]}\ncontroller:\n{self.release.controller_log()[-4000:]}"


def _document(name: str, **parts: Any) -> dict[str, Any]:
    """A run whose paths are a laptop's."""
    merged = copy.deepcopy(_PARTS)
    for key, value in parts.items():
        merged[key] = {**merged[key], **value} if isinstance(value, Mapping) and key in merged else value
    document = builders.run_document(**merged)
    document["metadata"]["name"] = name
    return document
