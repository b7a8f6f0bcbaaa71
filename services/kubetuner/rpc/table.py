"""Jobs as they stand in the object store, where they outlive the pod that did them.

    jobs/<name>/request.json         what was asked for; written once
    jobs/<name>/job.json             how the job stands; replaced
    jobs/<name>/events/<first>.json  its events from that number on, many to an object; the last such object is replaced while it grows
    jobs/<name>/cancel               there once somebody asked to stop

A job is the sum of its events: job.json may lag behind them, and is brought up to date by whoever reads it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf import json_format
from google.protobuf.message import Message

from kubetuner.artifacts.objects import canonical
from kubetuner.errors import ArtifactError
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1.job_pb2 import Job, JobEvent, JobState

NOUN: Final = "jobs"
CHUNK: Final = 500
"""Events in one object."""
ENDED: Final = frozenset({
    JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED, JobState.JOB_STATE_INTERRUPTED,
})  # fmt: skip
"""States that a job does not leave by itself."""


@dataclass(frozen=True, slots=True)
class Table:
    """The jobs of a store."""

    store: ObjectStore

    def claim_request(self, name: str, request: Message) -> bool:
        """Keep what a job was asked for; False where the name stands for another request."""
        content = canonical(json_format.MessageToDict(request))
        key = f"{NOUN}/{name}/request.json"
        return self.store.put(key, content) or self.store.get(key) == content

    def find(self, name: str) -> Job | None:
        """A job with all of its events taken in, or None where there is none."""
        data = self._get(f"{NOUN}/{name}/job.json")
        if data is None:
            return None
        job = json_format.Parse(data, Job(), ignore_unknown_fields=True)
        if job.state not in ENDED:
            for event in self.events(name, job.sequence + 1):
                apply(job, event)
        return job

    def save(self, job: Job) -> None:
        """Keep how a job stands."""
        self.store.put(f"{NOUN}/{job.name}/job.json", canonical(json_format.MessageToDict(job)), replace=True)

    def write_events(self, name: str, events: Sequence[JobEvent]) -> None:
        """Keep an object's worth of events, in place of those kept from the same first number on."""
        rows = [json_format.MessageToDict(event) for event in events]
        self.store.put(f"{NOUN}/{name}/events/{events[0].sequence:09d}.json", canonical(rows), replace=True, durable=False)

    def events(self, name: str, start: int) -> Iterator[JobEvent]:
        """The events from a number on, as far as they are kept."""
        firsts = self.firsts(name)
        for position, first in enumerate(firsts):
            if position + 1 < len(firsts) and firsts[position + 1] <= start:
                continue
            yield from (event for event in self.chunk(name, first) if event.sequence >= start)

    def firsts(self, name: str) -> list[int]:
        """The first numbers of the objects that hold a job's events."""
        return [int(info.key.rpartition("/")[2].removesuffix(".json")) for info in self.store.list(f"{NOUN}/{name}/events/")]

    def chunk(self, name: str, first: int) -> list[JobEvent]:
        """The events of one object."""
        data = self._get(f"{NOUN}/{name}/events/{first:09d}.json")
        return [] if data is None else [json_format.ParseDict(row, JobEvent(), ignore_unknown_fields=True) for row in json.loads(data)]

    def ask_cancel(self, name: str) -> None:
        """Leave word for whoever does the job that it is to stop."""
        self.store.put(f"{NOUN}/{name}/cancel", b"")

    def cancel_asked(self, name: str) -> bool:
        """Whether somebody left such word."""
        return self.store.head(f"{NOUN}/{name}/cancel") is not None

    def forget_cancel(self, name: str) -> None:
        """The job is asked for anew."""
        self.store.delete(f"{NOUN}/{name}/cancel")

    def page(self, stage: str, size: int, token: str, *, most_bytes: int) -> tuple[list[Job], str]:
        """So many jobs of a stage, newest first, and the token of the next page. Raises ValueError where the token is none of ours."""
        after = _read_token(token)
        rows = sorted(
            ((-info.modified, info.key.split("/")[1]) for info in self.store.list(f"{NOUN}/") if info.key.endswith("/request.json")),
        )
        jobs: list[Job] = []
        total, last = 0, (0.0, "")
        for row in rows:
            if after is not None and row <= after:
                continue
            job = self.find(row[1])
            if job is None or job.stage != stage:
                continue
            total += job.ByteSize()
            if jobs and (len(jobs) == size or total > most_bytes):
                return jobs, _token(last)
            jobs.append(job)
            last = row
        return jobs, ""

    def _get(self, key: str) -> bytes | None:
        try:
            return self.store.get(key)
        except ArtifactError:
            if self.store.head(key) is None:
                return None
            raise


def apply(job: Job, event: JobEvent) -> None:
    """Take an event into a job."""
    job.sequence = event.sequence
    kind = event.WhichOneof("event")
    if kind == "state":
        job.state = event.state
        if event.state == JobState.JOB_STATE_RUNNING:
            job.start_time.CopyFrom(event.time)
            job.ClearField("end_time")
            job.ClearField("error")
        elif event.state in ENDED:
            job.end_time.CopyFrom(event.time)
    elif kind == "progress":
        job.progress.CopyFrom(event.progress)
    elif kind == "error":
        job.error.CopyFrom(event.error)
    elif kind == "result":
        job.result.CopyFrom(event.result)


def _token(row: tuple[float, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(row).encode()).decode()


def _read_token(token: str) -> tuple[float, str] | None:
    if not token:
        return None
    modified, name = json.loads(base64.urlsafe_b64decode(token.encode("ascii", "replace")))
    return float(modified), str(name)
