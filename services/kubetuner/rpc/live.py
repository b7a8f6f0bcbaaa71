"""A job at work in this process: what the stage says becomes numbered events in the store, in batches, never in the stage's way.

Events are shown to watchers only once they are in the store, so that a number, once seen, means the same for ever. A store that is away
holds events back and nothing else.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import Any, Final, Protocol

from google.protobuf import json_format, timestamp_pb2

from kubetuner import log
from kubetuner.errors import KubeTunerError
from kubetuner.rpc.table import CHUNK, Table, apply
from kubetuner.v1alpha1.artifact_pb2 import Artifact
from kubetuner.v1alpha1.job_pb2 import Job, JobError, JobEvent, JobState
from kubetuner.v1alpha1.training_run_pb2 import Progress

_PROGRESS_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 1.0
_SAVE_SECONDS: Final = 10.0
_CANCEL_SECONDS: Final = 3.0
_MOST_NOTES: Final = 1000
_LONGEST_NOTE: Final = 2048
_LAST_TRIES: Final = 5
_logger = log.get(__name__)


class Doing(Protocol):
    """What the work of a job speaks to: its `Progress`, the wish that it stops, its counts."""

    cancelled: threading.Event
    work: Counter[str]

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        """A new count begins."""

    def advance(self, count: int = 1, **figures: float) -> None:
        """More is done."""

    def note(self, message: str) -> None:
        """A line for the user."""

    def model(self, model: Artifact) -> None:
        """The base model was brought."""


class Live:
    """One job, from its start in this process to its end. It is the stage's `Progress`."""

    def __init__(self, table: Table, job: Job) -> None:
        self.name = job.name
        self.cancelled = threading.Event()
        """What the stage looks at between units of work."""
        self.cancel_asked = False
        """Whether a client asked to stop, and not the pod's end."""
        self.has_begun = False
        """Whether it is done here; until then others may be at it, and the store knows best."""
        self.work: Counter[str] = Counter()
        """Units of work done, as the stage counts them."""
        self._table = table
        self._job = job
        self._shown = _copy(job)
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._pending: list[JobEvent] = []
        self._tail = self._kept_tail()
        self._notes = 0
        self._pace = _Pace()
        self._saved = self._asked = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name=f"events {self.name}", daemon=True)

    def begin(self) -> Job:
        """The job is done here from now on. Returns it as another process may have left it meanwhile."""
        found = self._table.find(self.name)
        with self._lock:
            if found is not None:
                self._job, self._shown = found, _copy(found)
            self._tail = self._kept_tail()
        self.has_begun = True
        self._thread.start()
        return _copy(self._job)

    # What the stage calls.

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        """A new count."""
        with self._lock:
            self._pace.start(stage, unit, total, done)
            self._add(JobEvent(progress=self._pace.progress()))

    def advance(self, count: int = 1, **figures: float) -> None:
        """More is done; an event now and then."""
        with self._lock:
            if self._pace.advance(count, figures):
                self._add(JobEvent(progress=self._pace.progress()))

    def note(self, message: str) -> None:
        """A line for the user."""
        with self._lock:
            self._notes += 1
            if self._notes <= _MOST_NOTES:
                self._add(JobEvent(note=message[:_LONGEST_NOTE]))
        _logger.info("note", text=message, job=self.name)

    # What the desk calls.

    def state(self, state: JobState) -> None:
        """The job goes into a state that is not its last."""
        with self._lock:
            self._add(JobEvent(state=state))
        self._try_flush(save=True)

    def model(self, model: Artifact) -> None:
        """The base model that was brought."""
        with self._lock:
            self._job.model.CopyFrom(model)

    def end(self, state: JobState, *, result: Artifact | None = None, error: JobError | None = None) -> None:
        """The job's last state, brought to the store as far as it can be reached."""
        with self._lock:
            if self._pace.is_behind:
                self._add(JobEvent(progress=self._pace.progress()))
            if result is not None:
                self._add(JobEvent(result=result))
            if error is not None:
                self._add(JobEvent(error=error))
            self._add(JobEvent(state=state))
        for attempt in range(_LAST_TRIES):
            if self._try_flush(save=True):
                break
            time.sleep(0.2 * 2**attempt)

    def close(self) -> None:
        """Nothing more is to be told of it here."""
        self._ended.set()
        with self._changed:
            self._changed.notify_all()

    def cancel(self) -> None:
        """A client asks to stop."""
        self.cancel_asked = True
        self.cancelled.set()

    # What watchers call.

    def job(self) -> Job:
        """The job as the store has it."""
        with self._changed:
            return _copy(self._shown)

    def truth(self) -> Job:
        """The job as it is, whether the store has heard of it or not."""
        with self._lock:
            job = _copy(self._job)
        job.work.update(dict(self.work))
        return job

    def events(self, start: int) -> list[JobEvent] | None:
        """Shown events from a number on; None where they must be read from the store."""
        with self._changed:
            if not self._tail or start < self._tail[0].sequence:
                return None if self._shown.sequence >= start else []
            return [event for event in self._tail if self._shown.sequence >= event.sequence >= start]

    def wait(self, after: int, seconds: float) -> None:
        """Until an event past a number is shown, the job has ended, or so long."""
        with self._changed:
            if self._shown.sequence <= after and not self._ended.is_set():
                self._changed.wait(seconds)

    # The way into the store.

    def _add(self, event: JobEvent) -> None:
        event.sequence = self._job.sequence + 1
        event.time.CopyFrom(now())
        apply(self._job, event)
        self._pending.append(event)

    def _kept_tail(self) -> list[JobEvent]:
        """The events of the newest object where it has room for more."""
        firsts = self._table.firsts(self.name)
        tail = self._table.chunk(self.name, firsts[-1]) if firsts else []
        return tail if len(tail) < CHUNK else []

    def _keep(self) -> None:
        while not self._ended.wait(_FLUSH_SECONDS):
            self._try_flush()
            if time.monotonic() - self._asked > _CANCEL_SECONDS and not self.cancelled.is_set():
                self._asked = time.monotonic()
                self._look_for_cancel()

    def _look_for_cancel(self) -> None:
        try:
            if self._table.cancel_asked(self.name):
                self.cancel()
        except KubeTunerError as error:
            _logger.warning("store away", job=self.name, error=str(error))

    def _try_flush(self, *, save: bool = False) -> bool:
        """Bring what is pending to the store; False, with everything kept for later, where it cannot be reached."""
        try:
            with self._flushing:
                self._flush(save=save)
        except KubeTunerError as error:
            _logger.warning("events held back", job=self.name, error=str(error))
            return False
        return True

    def _flush(self, *, save: bool) -> None:
        with self._lock:
            fresh = list(self._pending)
            job = _copy(self._job)
        job.work.update(dict(self.work))
        tail, left = list(self._tail), fresh
        while left:
            if len(tail) >= CHUNK:
                tail = []
            room = CHUNK - len(tail)
            tail, left = [*tail, *left[:room]], left[room:]
            self._table.write_events(self.name, tail)
        if save or (fresh and time.monotonic() - self._saved > _SAVE_SECONDS):
            self._table.save(job)
            self._saved = time.monotonic()
        with self._lock:
            del self._pending[: len(fresh)]
        with self._changed:
            self._tail = tail
            self._shown = job
            self._changed.notify_all()


class _Pace:
    """Counts units and says when it is time to tell."""

    def __init__(self) -> None:
        self._stage = self._unit = ""
        self._total = self._done = self._begun = self._told_done = 0
        self._since = self._told = 0.0
        self._figures: dict[str, float] = {}

    @property
    def is_behind(self) -> bool:
        """Whether there is something that was not told yet."""
        return self._done != self._told_done

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        self._stage, self._unit, self._total, self._done, self._begun = stage, unit, total, done, done
        self._figures = {}
        self._since = time.monotonic()

    def advance(self, count: int, figures: dict[str, float]) -> bool:
        self._done += count
        self._figures.update(figures)
        return self._done == self._total or time.monotonic() - self._told >= _PROGRESS_SECONDS

    def progress(self) -> Progress:
        self._told, self._told_done = time.monotonic(), self._done
        rate = (self._done - self._begun) / max(self._told - self._since, 1e-9) if self._done > self._begun else 0.0
        found = Progress(stage=self._stage, unit=self._unit, done=self._done, total=self._total, rate=rate)
        found.remaining_seconds = (self._total - self._done) / rate if rate > 0 else 0.0
        if self._figures:
            json_format.ParseDict(_plain(self._figures), found.figures)
        return found


def now() -> timestamp_pb2.Timestamp:
    """This moment."""
    stamp = timestamp_pb2.Timestamp()
    stamp.GetCurrentTime()
    return stamp


def _copy(job: Job) -> Job:
    copy = Job()
    copy.CopyFrom(job)
    return copy


def _plain(figures: dict[str, float]) -> dict[str, Any]:
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}  # JSON has no others
