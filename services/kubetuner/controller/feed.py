"""How far the stages are: the controller follows the server in each running pod by JobService.WatchJob.

Only for people: a stream that breaks, a pod that does not answer or a controller that is away changes nothing of a run. A stream is taken
up again at the event after the last one seen.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import json_format

from kubetuner import log
from kubetuner.controller.api import Json
from kubetuner.v1alpha1.job_pb2 import JobState
from kubetuner.v1alpha1.job_service_pb2 import WatchJobRequest
from kubetuner.v1alpha1.job_service_pb2_grpc import JobServiceStub

_LOG: Final = log.get(__name__)
_PAUSE: Final = (0.5, 30.0)
_YOUNG: Final = (120.0, 2.0)
"""For so long after it was first seen a pod is asked at least this often: it imports torch before it serves, and may be done soon after."""
_TOLD: Final = 20
"""Failures in a row after which one is logged; the first ones are usual."""
_MOST: Final = 100
_TURN: Final = 20.0
_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000), ("grpc.max_receive_message_length", 1 << 20),
    ("grpc.enable_http_proxy", 0),
)  # fmt: skip
_ENDED: Final = frozenset({
    JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED, JobState.JOB_STATE_INTERRUPTED,
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedTls:
    """How the controller shows itself to the pods' servers."""

    authority: Path
    certificate: Path
    key: Path
    name: str
    """Name in the pods' certificate, since they are called by address."""


@dataclass(slots=True, kw_only=True)
class _Place:
    """Where a stream is."""

    job_uid: str
    key: str
    job: str
    target: str
    following: int = 1
    heard: bool = False


@dataclass(slots=True, kw_only=True)
class Feed:
    """Streams to the running pods, one for each Job; where there are very many, they take turns."""

    changed: Callable[[str], None]
    """Told the key of a run whose progress is new."""
    tls: FeedTls | None = None
    port: int = 8080
    random: random.Random = field(default_factory=random.Random)
    clock: Callable[[], float] = time.monotonic
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST))
    _tasks: dict[str, tuple[str, asyncio.Task[None]]] = field(default_factory=dict)
    _progress: dict[str, Json] = field(default_factory=dict)

    def progress(self, job_uid: str) -> Json | None:
        """Newest progress of a Job."""
        return self._progress.get(job_uid)

    def follow(self, job_uid: str, key: str, address: str, job: str) -> None:
        """Follow the server at this address, if it is not followed already."""
        held = self._tasks.get(job_uid)
        if held is not None and held[0] == address:
            return
        self._cancel(job_uid)
        self._tasks[job_uid] = (address, asyncio.create_task(self._run(job_uid, key, address, job)))

    def leave(self, job_uid: str) -> None:
        """The Job has ended."""
        self._cancel(job_uid)
        self._progress.pop(job_uid, None)

    def close(self) -> None:
        """End all streams."""
        for uid in list(self._tasks):
            self._cancel(uid)

    def __len__(self) -> int:
        return len(self._tasks)

    def _cancel(self, job_uid: str) -> None:
        if held := self._tasks.pop(job_uid, None):
            held[1].cancel()

    async def _run(self, job_uid: str, key: str, address: str, job: str) -> None:
        place, failures = _Place(job_uid=job_uid, key=key, job=job, target=self._target(address)), 0
        begun = self.clock()
        while True:
            async with self._places, self._channel(place.target) as channel:
                try:
                    async with asyncio.timeout(_TURN if self._places.locked() else None):
                        if await self._listen(JobServiceStub(channel), place):
                            return
                        failures = 0
                except TimeoutError:  # others wait for a place
                    failures = 0
                except grpc.aio.AioRpcError as error:
                    failures = 0 if place.heard else failures + 1
                    if error.code() == grpc.StatusCode.OUT_OF_RANGE:
                        place.following = 1
                    if failures == _TOLD:
                        _LOG.info("progress cannot be followed", pod=address, code=error.code().name)
            place.heard = False
            await asyncio.sleep(pause_after(failures, self.clock() - begun) * self.random.uniform(0.5, 1.0))

    async def _listen(self, stub: Any, place: _Place) -> bool:
        """Take in events; True where the job has ended."""
        async for answer in stub.WatchJob(WatchJobRequest(name=place.job, start_sequence=place.following)):
            place.following, place.heard = answer.event.sequence + 1, True
            if answer.event.WhichOneof("event") == "progress":
                self._progress[place.job_uid] = json_format.MessageToDict(answer.event.progress)
                self.changed(place.key)
            elif answer.event.WhichOneof("event") == "state" and answer.event.state in _ENDED:
                return True
        return False

    def _target(self, address: str) -> str:
        if address.count(":") == 1:  # with a port of its own
            return address
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"

    def _channel(self, target: str) -> grpc.aio.Channel:
        if self.tls is None:
            return grpc.aio.insecure_channel(target, options=_OPTIONS)
        files = (self.tls.authority, self.tls.key, self.tls.certificate)
        authority, key, certificate = (file.read_bytes() for file in files)
        credentials = grpc.ssl_channel_credentials(root_certificates=authority, private_key=key, certificate_chain=certificate)
        return grpc.aio.secure_channel(target, credentials, options=(*_OPTIONS, ("grpc.ssl_target_name_override", self.tls.name)))


def pause_after(failures: int, age: float) -> float:
    """Seconds to wait after so many failures in a row, of a pod that is followed for so many seconds."""
    longest = _PAUSE[1] if age > _YOUNG[0] else _YOUNG[1]
    return min(longest, _PAUSE[0] * 2 ** min(failures, 20))
