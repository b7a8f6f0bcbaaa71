"""JobService: how the jobs of a room stand, what happens to them, and the wish that one stops. The same in every room."""

from __future__ import annotations

import binascii
import time
from collections.abc import Iterator
from typing import Any, Final

import grpc

from kubetuner.artifacts.claims import Claims
from kubetuner.rpc.desk import Desk
from kubetuner.rpc.errors import Refused
from kubetuner.rpc.live import Live
from kubetuner.rpc.serve import MOST_BYTES, Service
from kubetuner.rpc.table import ENDED, NOUN
from kubetuner.v1alpha1 import job_service_pb2 as pb
from kubetuner.v1alpha1 import job_service_pb2_grpc
from kubetuner.v1alpha1.job_pb2 import Job, JobEvent

_PAGE: Final = 50
_WAIT_SECONDS: Final = 1.0
_SILENT_SECONDS: Final = 15.0


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """The jobs of one room."""

    def __init__(self, stage: str, desk: Desk) -> None:
        self._stage = stage
        self._desk = desk

    def service(self) -> Service:
        """What to serve."""
        name = pb.DESCRIPTOR.services_by_name["JobService"].full_name
        return Service(name=name, add=lambda server: job_service_pb2_grpc.add_JobServiceServicer_to_server(self, server))

    def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=self._job(request.name))

    def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        size = request.page_size or _PAGE
        try:
            jobs, token = self._desk.table.page(self._stage, size, request.page_token, most_bytes=MOST_BYTES // 2)
        except (ValueError, TypeError, binascii.Error) as error:
            problem = "is no token of an earlier page; begin again without one"
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", problem, violations={"pageToken": problem}) from error
        return pb.ListJobsResponse(jobs=jobs, next_page_token=token)

    def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:
        job = self._job(request.name)
        if job.state not in ENDED:
            self._desk.cancel(request.name)
        return pb.CancelJobResponse(job=job)

    def WatchJob(self, request: pb.WatchJobRequest, context: Any) -> Iterator[pb.WatchJobResponse]:
        at = max(request.start_sequence, 1)
        newest = self._job(request.name).sequence
        if at > newest + 1:
            raise Refused(
                grpc.StatusCode.OUT_OF_RANGE,
                "SEQUENCE_OUT_OF_RANGE",
                f"the newest event has the number {newest}; start at {newest + 1} or before",
                metadata={"newest": str(newest)},
            )
        liveness = _Liveness(Claims(store=self._desk.table.store), request.name)
        while context.is_active():
            live = self._desk.live(request.name)
            for event in self._events(live, request.name, at):
                yield pb.WatchJobResponse(event=event)
                at = event.sequence + 1
            job = self._job(request.name)
            if job.state in ENDED and at > job.sequence:
                return
            self._pause(live, at, liveness)

    def _pause(self, live: Live | None, at: int, liveness: _Liveness) -> None:
        if live is not None:
            live.wait(at - 1, _WAIT_SECONDS)
        else:
            time.sleep(_WAIT_SECONDS)
            liveness.require()

    def _events(self, live: Live | None, name: str, at: int) -> list[JobEvent]:
        found = live.events(at) if live is not None else None
        if found is not None:
            return found
        newest = self._job(name).sequence
        return [event for event in self._desk.table.events(name, at) if event.sequence <= newest]

    def _job(self, name: str) -> Job:
        live = self._desk.live(name)
        job = live.job() if live is not None else self._desk.table.find(name)
        if job is None or job.stage != self._stage:
            raise Refused(
                grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", f"there is no job {name} of {self._stage}; ListJobs names those there are"
            )
        return job


class _Liveness:
    """Whether another process still does a job, by its claim's beat."""

    def __init__(self, claims: Claims, name: str) -> None:
        self._claims = claims
        self._name = f"{NOUN}/{name}"
        self._beat: bytes | None = None
        self._since = time.monotonic()

    def require(self) -> None:
        """Raise Refused where nobody has been at the job for a while."""
        beat = self._claims.beat(self._name)
        if beat is not None and beat != self._beat:
            self._beat, self._since = beat, time.monotonic()
        if time.monotonic() - self._since > _SILENT_SECONDS:
            raise Refused(
                grpc.StatusCode.UNAVAILABLE,
                "JOB_ABANDONED",
                "nobody is at the job any more; ask for it again and it goes on",
                retry_seconds=1.0,
            )
