"""A dry run as a process of its own, so that decoding pictures takes neither the time nor the memory of whoever asked for it.

    python -m kubetuner.ingest.inspection < run.json

In: a resolved run as JSON. Out: a line of JSON for each step of an InspectDatasets answer, `{"progress": ...}` now and then and one
`{"inspection": ...}` at the end; or `{"error": ...}`, a JobError. Nothing is written to the store.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final, TextIO

from google.protobuf import json_format
from google.protobuf.message import Message

from kubetuner.artifacts.objects import Json
from kubetuner.context import StageContext
from kubetuner.errors import KubeTunerError
from kubetuner.ingest.core.inspect import inspect
from kubetuner.rpc.errors import job_error
from kubetuner.storage import ObjectStore, open_store
from kubetuner.storage.dry import DryStore
from kubetuner.v1alpha1.inspection_pb2 import BucketCount, DatasetCount, Inspection, Problem
from kubetuner.v1alpha1.training_run_pb2 import Progress, TrainingRun

_SECONDS_BETWEEN: Final = 0.5
_LEVELS: Final = {"error": 0, "warning": 1, "info": 2}


class Told:
    """Progress as lines."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._now = Progress()
        self._said = 0.0

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        """A new count."""
        self._now = Progress(stage=stage, unit=unit, total=total, done=done)
        self._say()

    def advance(self, count: int = 1, **figures: float) -> None:
        """More is done."""
        self._now.done += count
        if self._now.done >= self._now.total or time.monotonic() - self._said >= _SECONDS_BETWEEN:
            self._say()

    def note(self, message: str) -> None:
        """Nothing: what is worth knowing stands in the finding."""

    def _say(self) -> None:
        self._said = time.monotonic()
        say(self._out, "progress", self._now)


def look(run: TrainingRun, store: ObjectStore, out: TextIO) -> None:
    """Inspect a resolved run and tell how far it is and what was found."""
    ctx = StageContext(store=DryStore(store), base=Path.cwd(), progress=Told(out), cancelled=threading.Event())
    say(out, "inspection", message(inspect(run, ctx)))


def message(found: Json) -> Inspection:
    """The document of `kubetuner inspect --json` as a message, without its row for each picture."""
    cut = {row["caption"] for row in found["captions"]["cutCaptions"]}  # the longest hundred
    captions: dict[str, set[str]] = {row["id"]: set() for row in found["datasets"]}
    for image in found["images"]:
        if image["used"]:
            captions[image["dataset"]].update(image["captions"])
    rows = [
        DatasetCount(
            dataset=row["id"],
            images=row["found"],
            used=row["used"],
            unused=row["reasons"],
            captions=len(captions[row["id"]]),
            captions_cut=len(captions[row["id"]] & cut),
        )
        for row in found["datasets"]
    ]
    buckets = [
        BucketCount(
            dataset=row["dataset"],
            bucket=row["bucket"],
            width=row["size"][0],
            height=row["size"][1],
            images=row["count"],
            batches=row["batches"],
        )
        for row in found["buckets"]
    ]
    problems = sorted(found["problems"], key=lambda row: _LEVELS.get(row["level"], 3))
    return Inspection(
        datasets=rows,
        buckets=buckets,
        batches=found["batches"],
        steps_per_epoch=found["stepsPerEpoch"],
        steps=found["steps"],
        problems=[Problem(level=row["level"], code=row["code"], message=row["message"], fix=row["fix"]) for row in problems],
    )


def say(out: TextIO, kind: str, what: Message) -> None:
    """One line."""
    print(json.dumps({kind: json_format.MessageToDict(what)}, ensure_ascii=False), file=out, flush=True)


def stay_small(most_bytes: int) -> None:
    """Use one core, and at most so much memory: a container that takes too much is ended whole, and its server with it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))


def main() -> int:
    """Read a run, look, tell."""
    stay_small(int(os.environ.get("KUBETUNER_INSPECT_BYTES") or 0))
    try:
        document: dict[str, Any] = json.load(sys.stdin)
        run = json_format.ParseDict(document, TrainingRun())
        look(run, open_store(os.environ["KUBETUNER_STORE"], path="KUBETUNER_STORE"), sys.stdout)
    except (KubeTunerError, MemoryError) as error:
        say(sys.stdout, "error", job_error(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
