"""The jobs of one process: takes requests, does one job after another, and tells how each ended.

A name stands for one request: asked for again while it is under way or done, it starts nothing. A job that failed, was cancelled or was
interrupted goes on when it is asked for again, and its events count on. Of several servers on one store, the one that holds the job's claim
does it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import grpc
import structlog
from google.protobuf.message import Message

from kubetuner import log
from kubetuner.artifacts.claims import Claims
from kubetuner.errors import Interrupted, KubeTunerError
from kubetuner.rpc.errors import Refused, job_error
from kubetuner.rpc.live import Doing, Live, now
from kubetuner.rpc.table import ENDED, NOUN, Table
from kubetuner.v1alpha1.artifact_pb2 import Artifact
from kubetuner.v1alpha1.job_pb2 import Job, JobState

_MOST_WAITING: Final = 16
_OTHERS_SECONDS: Final = 15.0
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job to do."""

    job: Job
    """Name, stage, run, attempt, shard and source are set."""
    request: Message
    perform: Callable[[Doing], Artifact | None]
    """Does the work; gives what was made, or None where others make the last of it."""
    is_done: Callable[[Job], bool]
    """Whether a job that succeeded at an earlier time still needs no doing: what it made is in the store."""


class Desk:
    """Does jobs one after the other in a thread of its own."""

    def __init__(self, table: Table, *, alone: bool = False) -> None:
        """`alone` where somebody else sees to it that no other process does the same job, as a controller does for its pods."""
        self.table = table
        self._alone = alone
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._live: dict[str, Live] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="job")
        self._stopping = False

    def start(self, order: Order, on_end: Callable[[Job], None] = lambda _: None) -> Job:
        """Take a job on, or find the one of the same name. `on_end` is told how one that was taken on ended."""
        name = order.job.name
        with self._starting:  # the store may be away for a while, and jobs under way are to be told of meanwhile
            if not self.table.claim_request(name, order.request):
                raise Refused(
                    grpc.StatusCode.ALREADY_EXISTS,
                    "REQUEST_ID_REUSED",
                    f"{name} names another request; give this one a name of its own",
                )
            under_way = self._find(name)
            if under_way is not None and under_way.job().state not in ENDED:
                return under_way.job()
            self._require_room()
            found = self.table.find(name)
            if found is not None and found.state == JobState.JOB_STATE_SUCCEEDED and order.is_done(found):
                return found
            if found is None:
                found = order.job
                found.create_time.CopyFrom(now())
            return self._submit(order, found, on_end)

    def _require_room(self) -> None:
        """Raise Refused where no job can be taken on."""
        with self._lock:
            waiting = len(self._live)
        if waiting >= _MOST_WAITING:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "TOO_MANY_JOBS",
                f"{_MOST_WAITING} jobs are under way here; ask again when one has ended",
                retry_seconds=30.0,
            )

    def _submit(self, order: Order, job: Job, on_end: Callable[[Job], None]) -> Job:
        live = Live(self.table, job)
        if job.state in ENDED or job.state == JobState.JOB_STATE_UNSPECIFIED:
            self.table.forget_cancel(job.name)
            live.state(JobState.JOB_STATE_PENDING)
        taken_on = live.job()  # the answer is what was asked for, however fast the thread is
        with self._lock:
            if self._stopping:
                raise Refused(grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING", "the server is about to end; ask again", retry_seconds=5.0)
            self._live[job.name] = live
            self._worker.submit(self._do, order, live, on_end)
        return taken_on

    def live(self, name: str) -> Live | None:
        """A job that is done here now; of all others the store knows best."""
        found = self._find(name)
        return found if found is not None and found.has_begun else None

    def cancel(self, name: str) -> None:
        """Ask a job to stop, wherever it is done."""
        found = self._find(name)
        if found is not None:
            found.cancel()
        if found is None or not found.has_begun:
            self.table.ask_cancel(name)

    def _find(self, name: str) -> Live | None:
        with self._lock:
            return self._live.get(name)

    def stop(self) -> bool:
        """No new jobs; those under way save their state and end. Returns once they have, with whether there were any."""
        with self._lock:
            self._stopping = True
            under_way = list(self._live.values())
        for live in under_way:
            live.cancelled.set()
        self._worker.shutdown(wait=True)
        return bool(under_way)

    def _do(self, order: Order, live: Live, on_end: Callable[[Job], None]) -> None:
        try:
            with structlog.contextvars.bound_contextvars(**_about(order.job)), ExitStack() as held:
                if self._is_ours(live, held):
                    self._perform(order, live)
        except BaseException as error:  # the store cannot be spoken to, or a fault of ours: nobody else would hear of it
            _logger.error("job not begun", job=live.name, error=str(error), exc_info=not isinstance(error, KubeTunerError))
            live.end(JobState.JOB_STATE_FAILED, error=job_error(error))
        finally:
            live.close()
            with self._lock:
                if self._live.get(live.name) is live:  # and not asked for again since its end
                    del self._live[live.name]
            on_end(live.truth())

    def _is_ours(self, live: Live, held: ExitStack) -> bool:
        """Whether to do the job here: no other living process is at it."""
        claims = Claims(store=self.table.store)
        begun = time.monotonic()
        while True:
            claim = held.enter_context(ExitStack())
            if claim.enter_context(claims.take(f"{NOUN}/{live.name}")):
                return True
            claim.close()
            if self._alone:
                return True
            if time.monotonic() - begun > _OTHERS_SECONDS or live.cancelled.wait(1.0):
                _logger.info("another server is at the job", job=live.name)
                return False

    def _perform(self, order: Order, live: Live) -> None:
        found = live.begin()
        if found.state == JobState.JOB_STATE_SUCCEEDED and order.is_done(found):
            return  # by another server, while this one waited for it
        live.state(JobState.JOB_STATE_RUNNING)
        _logger.info("job started", job=live.name)
        try:
            if live.cancelled.is_set():
                raise Interrupted("stopped before it began")
            result = order.perform(live)
        except Interrupted:
            state = JobState.JOB_STATE_CANCELLED if live.cancel_asked else JobState.JOB_STATE_INTERRUPTED
            _logger.info("job stopped with its state saved", job=live.name, state=JobState.Name(state))
            live.end(state)
        except BaseException as error:
            known = job_error(error)
            _logger.error("job failed", job=live.name, reason=known.reason, error=known.message, exc_info=known.reason == "INTERNAL")
            live.end(JobState.JOB_STATE_FAILED, error=known)
        else:
            _logger.info("job done", job=live.name, work=dict(live.work))
            live.end(JobState.JOB_STATE_SUCCEEDED, result=result)


def _about(job: Job) -> dict[str, object]:
    return {"run": job.run, "stage": job.stage, "attempt": job.attempt}
