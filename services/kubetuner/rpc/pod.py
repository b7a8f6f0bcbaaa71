"""A room's process: a standing server, or a pod that does the one request mounted into it and ends.

Exit codes: 0 done, 1 failed, 2 the input is wrong, 143 asked to stop with the state saved. What a pod came to stands in its termination
message too, as JSON of at most 4 KiB.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message

from kubetuner import log
from kubetuner.errors import InputError, Interrupted, KubeTunerError
from kubetuner.rpc import settings as settings_
from kubetuner.rpc.desk import Desk
from kubetuner.rpc.errors import job_error
from kubetuner.rpc.job_service import JobService
from kubetuner.rpc.room import Room
from kubetuner.rpc.serve import Server, Service
from kubetuner.rpc.settings import Settings
from kubetuner.rpc.signals import Signals
from kubetuner.rpc.table import Table
from kubetuner.storage import ObjectStore, open_store
from kubetuner.v1alpha1.artifact_pb2 import Artifact
from kubetuner.v1alpha1.job_pb2 import Job, JobState

DONE, FAILED, WRONG_INPUT, STOPPED = 0, 1, 2, 143
_MOST_BYTES: Final = 4096
_WRONG: Final = frozenset({"INPUT_INVALID", "DATA_INVALID"})
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What makes a room's process that room's."""

    open: Callable[[Settings, ObjectStore], Room]
    services: Callable[[Room, Desk], Sequence[Service]]
    """Its own services; JobService comes by itself."""
    follows: bool = False
    """Whether another process of the same job leads: this one only works along."""
    probed: bool = True
    """Whether this process answers its pod's probes and writes its termination message."""


def main(kind: Kind, signals: Signals, environment: Mapping[str, str] = os.environ) -> int:
    """Run a room's process to its end; returns its exit code. `signals` are heard from before all that is imported."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):  # their advice is about packages and options that a run does not use
        os.environ.setdefault(name, "error")
    try:
        settings = settings_.read(environment)
    except InputError as error:
        log.configure()
        _logger.error("settings wrong", error=str(error))
        return WRONG_INPUT
    log.configure(settings.log_level)
    try:
        store = open_store(settings.store, path="KUBETUNER_STORE", note=lambda text: _logger.warning("store", text=text))
        room = kind.open(settings, store)
        log.about(stage=room.stage.name)
        if settings.request is None:
            return _stand(kind, room, settings, signals)
        job = _do(kind, room, settings, settings.request, signals)
    except KubeTunerError as error:
        _logger.error("failed", error=str(error))
        job = Job(state=JobState.JOB_STATE_FAILED, error=job_error(error))
    if settings.request is not None and kind.probed:  # of several processes in a pod, one speaks for it
        _write(settings.termination_log, message(job))
    code = exit_code(job)
    _logger.info("end", state=JobState.Name(job.state), code=code)
    return code


def exit_code(job: Job) -> int:
    """What a process ends with whose job came to this."""
    if job.state == JobState.JOB_STATE_SUCCEEDED:
        return DONE
    if job.state in (JobState.JOB_STATE_INTERRUPTED, JobState.JOB_STATE_CANCELLED):
        return STOPPED
    return WRONG_INPUT if job.error.reason in _WRONG else FAILED


def message(job: Job) -> bytes:
    """The termination message: JSON of at most 4 KiB, whose error gives up violations and words first."""
    found: dict[str, Any] = {"job": job.name, "state": JobState.Name(job.state).removeprefix("JOB_STATE_"), "work": dict(job.work)}
    for name, artifact in (("result", job.result), ("model", job.model)):
        if artifact.noun:
            found[name] = {"noun": artifact.noun, "fingerprint": artifact.fingerprint}
    if not job.HasField("error"):
        return _json(found)
    rows = [{"field": row.field, "description": row.description} for row in job.error.violations]
    error: dict[str, Any] = {"reason": job.error.reason, "message": job.error.message, "retryable": job.error.retryable}
    found["error"] = error
    while rows and len(_json(found | {"error": error | {"violations": rows}})) > _MOST_BYTES:
        rows.pop()
    if rows:
        error["violations"] = rows
    while len(_json(found)) > _MOST_BYTES:
        error["message"] = error["message"][: len(error["message"]) * 3 // 4]
    return _json(found)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _stand(kind: Kind, room: Room, settings: Settings, signals: Signals) -> int:
    """Serve until asked to stop."""
    desk = Desk(Table(room.store))
    with Server(settings.listening, _services(kind, room, desk)) as server:
        signals.wait()
        server.leave()
        return STOPPED if desk.stop() else DONE


def _do(kind: Kind, room: Room, settings: Settings, path: Path, signals: Signals) -> Job:
    """Do the mounted request, and serve meanwhile; returns what it came to."""
    request: Any = _read(path, room.request)
    log.about(run=request.run, attempt=request.attempt)
    if kind.follows:
        return _follow(kind, room, settings, request, signals)
    desk = Desk(Table(room.store), alone=True)
    ended: list[Job] = []

    def end(job: Job) -> None:
        ended.append(job)
        signals.wake()

    with Server(settings.listening, _services(kind, room, desk)) as server:
        job = desk.start(room.order(request), on_end=end)
        if job.state == JobState.JOB_STATE_SUCCEEDED:  # by an earlier container of this pod
            return job
        signals.wait()
        server.leave()
        desk.stop()
    return ended[0]


def _follow(kind: Kind, room: Room, settings: Settings, request: Any, signals: Signals) -> Job:
    """Work along with the process that leads: nothing but health is served, and nothing is told but the end."""
    order = room.order(request)
    job = order.job
    shadow = Shadow(signals.stopped)
    health = replace(settings.listening, address="", health_address=settings.listening.health_address if kind.probed else "")
    with Server(health, []):
        try:
            result = order.perform(shadow)
            job.state = JobState.JOB_STATE_SUCCEEDED
            if result is not None:
                job.result.CopyFrom(result)
        except Interrupted:
            job.state = JobState.JOB_STATE_INTERRUPTED
        except BaseException as error:
            job.state = JobState.JOB_STATE_FAILED
            job.error.CopyFrom(job_error(error))
            _logger.error("failed", error=job.error.message, exc_info=job.error.reason == "INTERNAL")
    job.work.update(dict(shadow.work))
    return job


@dataclass
class Shadow:
    """What a process that works along tells: nothing."""

    cancelled: threading.Event
    work: Counter[str] = field(default_factory=Counter)

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        """Not told."""

    def advance(self, count: int = 1, **figures: float) -> None:
        """Not told."""

    def note(self, message: str) -> None:
        """Logged."""
        _logger.info("note", text=message)

    def model(self, model: Artifact) -> None:
        """Told by the process that leads."""


def _services(kind: Kind, room: Room, desk: Desk) -> list[Service]:
    return [*kind.services(room, desk), JobService(room.stage.name, desk).service()]


def _read(path: Path, kind: type[Message]) -> Message:
    try:
        return json_format.Parse(path.read_text("utf-8"), kind())
    except (OSError, UnicodeDecodeError, json_format.ParseError) as error:
        raise InputError(f"{path}: no {kind.DESCRIPTOR.name} in JSON ({error}); correct what is mounted there") from error


def _write(path: Path, content: bytes) -> None:
    # In a pod the file is there, writable, in a folder that is not.
    if os.access(path if path.exists() else path.parent, os.W_OK):
        try:
            path.write_bytes(content)
        except OSError as error:
            _logger.warning("termination message not written", path=str(path), error=str(error))
