"""Runs of KubeTuner in the cluster, for tests: data and model in its store, TrainingRuns by kubectl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.kubectl import Kubectl, until
from tests.cluster.laptop import LORA, Laptop, Outcome, document
from tests.cluster.object_store import ObjectStore
from tests.cluster.processes import ClusterError
from tests.cluster.release import TEAM, Release

STAGES: Final = ("ingest", "embed", "train", "evaluate")
OVER: Final = ("Succeeded", "Failed", "Cancelled")
_SECONDS: Final = 900  # what only a hang takes
_GIVEN: Final = ("datasets/", "models/")
_ENCODED: Final = ("manifest/", "model/", "facts/", "images/", "latents/", "texts/", "cache/", "results/embed/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A release, and its store with the data and the model of a laptop's folder."""

    release: Release
    laptop: Laptop

    @property
    def folder(self) -> Path:
        return self.laptop.folder

    @property
    def kubectl(self) -> Kubectl:
        return self.release.cluster.kubectl

    @property
    def store(self) -> ObjectStore:
        return self.release.cluster.store

    def prepare(self) -> None:
        """Bring pictures and model into the store; what an earlier session left on this cluster goes."""
        self.kubectl("--namespace", TEAM, "delete", "trainingruns", "--all", "--cascade=foreground", f"--timeout={_SECONDS}s")
        self._empty(_GIVEN)
        for name, prefix in (("photographs", "datasets/photographs/"), ("tiny-sdxl", "models/tiny-sdxl/")):
            target = self.store.store(prefix)
            for file in sorted((self.folder / name).rglob("*")):
                if file.is_file():
                    target.put(str(file.relative_to(self.folder / name)), file.read_bytes())

    def apply(self, name: str, **parts: Any) -> None:
        """Apply the run to the cluster, with the store's addresses."""
        self.kubectl.apply(self.document(name, **parts), namespace=TEAM)

    def document(self, name: str, **parts: Any) -> dict[str, Any]:
        """The run with the store's addresses."""
        made = document(name, **parts)
        made["spec"]["model"]["path"] = "store:models/tiny-sdxl"
        for dataset in made["spec"]["datasets"]:
            dataset["source"]["uri"] = f"store:datasets/{dataset['source']['uri']}"
        return made

    def forget(self, name: str, *, encoded: bool = True) -> None:
        """Remove a run and what any run has put into the store, so that the next of this name begins from nothing; or, with `encoded` off,
        from what was counted and encoded."""
        self.kubectl(
            "--namespace", TEAM, "delete", "trainingrun", name, "--ignore-not-found", "--cascade=foreground", f"--timeout={_SECONDS}s"
        )
        self._empty(_GIVEN if encoded else (*_GIVEN, *_ENCODED))

    def _empty(self, kept: tuple[str, ...]) -> None:
        """Remove what the store has below other prefixes."""
        store = self.store.store()
        for found in list(store.list("")):
            if not found.key.startswith(kept):
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

    def until_trained(self, name: str, steps: int, seconds: float = _SECONDS) -> None:
        """Wait until a run's training has come so far."""

        def look() -> bool:
            status = self.status(name)
            progress = status.get("progress") or {}
            if status.get("phase") in OVER or progress.get("stage") == "evaluate":
                raise ClusterError(f"the training of {name} ended before it was seen at work: make it longer")
            return progress.get("stage") == "train" and progress.get("done", 0) >= steps

        until(look, f"{steps} steps of {name}'s training", seconds)

    def until_pod(self, name: str, stage: str, phase: str = "Running", seconds: float = _SECONDS) -> str:
        """The name of the pod of a run's stage that is in this phase."""
        selector = f"kubetuner.dev/run={name},kubetuner.dev/stage={stage}"

        def look() -> str | None:
            pods = self.kubectl.list("pods", TEAM, selector)
            return next((pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == phase), None)

        return until(look, f"a pod of {name}'s {stage} that is {phase}", seconds)

    def until_stored(self, prefix: str, count: int, seconds: float = _SECONDS) -> Sequence[str]:
        """The keys of the store below a prefix, as soon as there are so many."""

        def look() -> Sequence[str] | None:
            keys = [found.key for found in self.store.store().list(prefix)]
            return keys if len(keys) >= count else None

        return until(look, f"{count} objects below {prefix}", seconds)

    def jobs(self, name: str) -> Sequence[str]:
        """Names of the Jobs that a run has made, in the order of their making."""
        jobs = self.kubectl.list("jobs", TEAM, f"kubetuner.dev/run={name}")

        def made(job: dict[str, Any]) -> tuple[str, int]:
            meta = job["metadata"]  # whole seconds, in which two fast stages fit
            return meta["creationTimestamp"], STAGES.index(meta["labels"]["kubetuner.dev/stage"])

        return [job["metadata"]["name"] for job in sorted(jobs, key=made)]

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
