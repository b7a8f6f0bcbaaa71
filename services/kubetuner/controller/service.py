"""RunService: runs over gRPC, for clients that do not speak Kubernetes. Every call is made with the caller's own rights.

A run is a TrainingRun of the cluster whoever made it: what is created here is seen by kubectl, and the other way round.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import grpc

from kubetuner.artifacts.objects import canonical, fingerprint
from kubetuner.controller import runs as events
from kubetuner.controller import service_pages as pages
from kubetuner.controller import service_removal
from kubetuner.controller.api import GROUP, ApiError, Json
from kubetuner.controller.runs import FINISHED, Gone, Runs, TooOld
from kubetuner.controller.service_auth import CALLER, Gate
from kubetuner.controller.service_datasets import Datasets
from kubetuner.controller.service_inspect import Inspections
from kubetuner.controller.service_messages import REQUEST_DIGEST, REQUEST_ID, annotation, document, event_message, message, same
from kubetuner.controller.service_outputs import Outputs
from kubetuner.errors import InputError, KubeTunerError
from kubetuner.rpc.errors import Refused
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1 import run_service_pb2 as pb
from kubetuner.v1alpha1 import run_service_pb2_grpc
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

CREATED_BY: Final = f"{GROUP}/created-by"
_WATCH_SECONDS: Final = 3600.0


@dataclass(slots=True, kw_only=True)
class Parts:
    """What the service is made of."""

    runs: Runs
    gate: Gate
    store: ObjectStore
    datasets: Datasets
    outputs: Outputs
    inspections: Inspections
    executor: Executor
    watch_seconds: float = _WATCH_SECONDS
    """A watch is ended after so long, so that rights are looked at again; clients go on where they were."""


class RunService(run_service_pb2_grpc.RunServiceServicer):
    """The calls, in the order of the schema."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._runs = parts.runs
        self._leaving = asyncio.Event()

    async def CreateRun(self, request: pb.CreateRunRequest, context: Any) -> pb.CreateRunResponse:
        await self._parts.gate.allow("create", request.namespace)
        run = document(request.run, request.namespace)
        digest = fingerprint("request", canonical(run).decode())
        annotations = run["metadata"].setdefault("annotations", {})
        annotations[CREATED_BY] = CALLER.get().username  # the API server itself sees the controller's account alone
        if request.request_id:
            annotations |= {REQUEST_ID: request.request_id, REQUEST_DIGEST: digest}
            if (earlier := self._earlier(request.namespace, request.request_id)) is not None:
                return pb.CreateRunResponse(run=same(earlier, digest))
        try:
            made = await self._runs.create(request.namespace, run, dry_run=request.validate_only)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            there = await self._runs.fetch(request.namespace, run["metadata"]["name"])
            if request.request_id and there is not None and annotation(there, REQUEST_ID) == request.request_id:
                return pb.CreateRunResponse(run=same(there, digest))
            words = (
                f"the run {run['metadata']['name']} is there already in {request.namespace}; name this one otherwise, or delete that one"
            )
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, "RUN_EXISTS", words) from error
        return pb.CreateRunResponse(run=message(made))

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.GetRunResponse:
        return pb.GetRunResponse(run=message(await self._get("get", request.run)))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Any) -> pb.ListRunsResponse:
        self._require_synced()
        found = await self._listed(request.namespace)
        if request.phase:
            found = [run for run in found if (run.get("status") or {}).get("phase", "Pending") == request.phase]
        question = f"{request.namespace} {request.phase}"
        rest = pages.after(found, request.page_token, question)
        page: list[TrainingRun] = []
        size = 0
        for number, run in enumerate(rest):
            row = message(run)
            size += row.ByteSize()
            if page and (len(page) == (request.page_size or pages.USUAL) or size > pages.MOST_BYTES):
                return pb.ListRunsResponse(runs=page, next_page_token=pages.token(rest[number - 1], question))
            page.append(row)
        return pb.ListRunsResponse(runs=page)

    async def WatchRun(self, request: pb.WatchRunRequest, context: Any) -> AsyncIterator[pb.WatchRunResponse]:
        await self._get("watch", request.run)
        found = self._runs.watch(request.run.namespace, request.run.name, request.start_sequence)
        ends = asyncio.get_running_loop().time() + self._parts.watch_seconds
        try:
            while (event := await self._next(found, ends)) is not None:
                yield pb.WatchRunResponse(event=event_message(event))
        except TooOld as error:
            words = f"events before {error.oldest} are no longer kept; get the run, and watch from its newest"
            oldest = {"oldestSequence": str(error.oldest)}
            raise Refused(grpc.StatusCode.OUT_OF_RANGE, "EVENTS_TOO_OLD", words, metadata=oldest) from error
        except Gone as error:
            raise Refused(grpc.StatusCode.NOT_FOUND, "RUN_DELETED", f"the run {request.run.name} was deleted") from error
        finally:
            await found.aclose()

    async def SuspendRun(self, request: pb.SuspendRunRequest, context: Any) -> pb.SuspendRunResponse:
        return pb.SuspendRunResponse(run=await self._change(request.run, {"suspend": True}, "suspended"))

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: Any) -> pb.ResumeRunResponse:
        return pb.ResumeRunResponse(run=await self._change(request.run, {"suspend": False}, "resumed"))

    async def CancelRun(self, request: pb.CancelRunRequest, context: Any) -> pb.CancelRunResponse:
        return pb.CancelRunResponse(run=await self._change(request.run, {"cancel": True}, ""))

    async def DeleteRun(self, request: pb.DeleteRunRequest, context: Any) -> pb.DeleteRunResponse:
        run = await self._get("delete", request.run)
        others = [other for other in self._runs.list() if other["metadata"]["uid"] != run["metadata"]["uid"]]
        await self._runs.delete(request.run.namespace, request.run.name, run["metadata"]["uid"])
        if request.delete_artifacts:
            await self._remove(run, others)
        return pb.DeleteRunResponse()

    async def InspectRun(self, request: pb.InspectRunRequest, context: Any) -> AsyncIterator[pb.InspectRunResponse]:
        await self._parts.gate.allow("create", request.namespace)
        document(request.run, request.namespace)
        async with aclosing(self._parts.inspections.look(request.run, context.time_remaining())) as answers:
            async for answer in answers:
                yield answer

    async def CompareDataset(self, request: pb.CompareDatasetRequest, context: Any) -> pb.CompareDatasetResponse:
        await self._parts.gate.allow("create", request.namespace)
        return await self._parts.datasets.compare(request)

    async def UploadDataset(self, request_iterator: AsyncIterator[pb.UploadDatasetRequest], context: Any) -> pb.UploadDatasetResponse:
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("part") != "header":
            raise InputError("an upload begins with a header that names namespace and dataset")
        await self._parts.gate.allow("create", first.header.namespace)
        return await self._parts.datasets.upload(first.header, request_iterator)

    async def ListOutputs(self, request: pb.ListOutputsRequest, context: Any) -> pb.ListOutputsResponse:
        run = await self._get("get", request.run)
        return pb.ListOutputsResponse(files=await self._parts.outputs.list(run))

    async def ReadOutput(self, request: pb.ReadOutputRequest, context: Any) -> AsyncIterator[pb.ReadOutputResponse]:
        run = await self._get("get", request.run)
        async for piece in self._parts.outputs.read(run, request.path, request.offset):
            yield pb.ReadOutputResponse(data=piece)

    def leave(self) -> None:
        """End all watches; their clients go on elsewhere."""
        self._leaving.set()

    async def _next(self, found: AsyncGenerator[events.RunEvent, None], ends: float) -> events.RunEvent | None:
        """The next event, None after the last. Raises Refused where the watch is to go on in another call."""
        waiting = {asyncio.ensure_future(anext(found, None)), asyncio.ensure_future(self._leaving.wait())}
        try:
            left = ends - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not isinstance(event := task.result(), bool):
                    return event
            words = "a watch is ended after a while, and when the controller ends; go on from the last event received, plus 1"
            raise Refused(grpc.StatusCode.UNAVAILABLE, "WATCH_ENDED", words, retry_seconds=0.1)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _get(self, verb: str, ref: pb.RunRef) -> Json:
        await self._parts.gate.allow(verb, ref.namespace, ref.name)
        self._require_synced()
        run = self._runs.get(ref.namespace, ref.name) or await self._runs.fetch(ref.namespace, ref.name)  # another replica may have made it
        if run is None:
            words = f"there is no run {ref.name} in the namespace {ref.namespace}; ListRuns names those that there are"
            raise Refused(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND", words)
        return run

    async def _change(self, ref: pb.RunRef, spec: Json, word: str) -> TrainingRun:
        """Change a run that goes on; one that has ended is as it is, which `word` forbids where it is given."""
        run = await self._get("update", ref)
        phase = (run.get("status") or {}).get("phase", "")
        if phase in FINISHED and word:
            words = f"the run {ref.name} has ended ({phase}) and cannot be {word}; create it again under another name"
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "RUN_FINISHED", words)
        if phase in FINISHED or all(run["spec"].get(name, False) == value for name, value in spec.items()):
            return message(run)
        return message(await self._runs.patch(ref.namespace, ref.name, {"spec": spec}))

    async def _remove(self, run: Json, others: list[Json]) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._parts.executor, service_removal.remove, self._parts.store, run, others)
        except KubeTunerError as error:
            words = f"the run is deleted, but not all of its artifacts ({error}); `kubetuner store gc` removes what nothing needs"
            raise Refused(grpc.StatusCode.ABORTED, "ARTIFACTS_LEFT", words) from error

    async def _listed(self, namespace: str) -> list[Json]:
        gate = self._parts.gate
        if namespace:
            await gate.allow("list", namespace)
            return self._runs.list(namespace)
        found = self._runs.list()
        if await gate.may("list", ""):
            return found
        mine = {name for name in sorted({run["metadata"]["namespace"] for run in found}) if await gate.may("list", name)}
        return [run for run in found if run["metadata"]["namespace"] in mine]

    def _earlier(self, namespace: str, request_id: str) -> Json | None:
        """The run that an earlier call with this id made."""
        return next((run for run in self._runs.list(namespace) if annotation(run, REQUEST_ID) == request_id), None)

    def _require_synced(self) -> None:
        if not self._runs.synced:
            words = "the controller has not yet seen all runs; ask again in a moment"
            raise Refused(grpc.StatusCode.UNAVAILABLE, "NOT_SYNCED", words, retry_seconds=1.0)
