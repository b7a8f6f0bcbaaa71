"""RunService from Python, for asyncio.

    async with kubetuner.connect("dns:///kubetuner.kubetuner:443", token=...) as kt:
        run = await kt.create_run("run.yaml", namespace="team")
        async for event in kt.watch(run):
            print(event.sequence, event.reason, event.message)
        await kt.download(run, Path("out"))

Errors are those of a run on a laptop: SpecErrors name the wrong fields; `kubetuner.rpc.errors.Refused` has gRPC's code, a reason for
programs and the cure.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import grpc

from kubetuner.client import download, upload
from kubetuner.client.channel import Target, Token, of_environment
from kubetuner.client.patience import AWAY, Patience
from kubetuner.errors import InputError
from kubetuner.rpc.errors import Refused, explain
from kubetuner.spec.load import load_run, parse_run
from kubetuner.v1alpha1 import run_service_pb2 as pb
from kubetuner.v1alpha1 import run_service_pb2_grpc
from kubetuner.v1alpha1.inspection_pb2 import Inspection
from kubetuner.v1alpha1.training_run_pb2 import Progress, TrainingRun

Run = TrainingRun | str
"""A run, or its name in the client's namespace."""
_SECONDS: Final = 60.0
_LONG: Final = 3600.0
_Answer = TypeVar("_Answer")


def connect(
    address: str = "",
    *,
    token: Token = None,
    ca: str | Path | bytes | None = None,
    namespace: str = "default",
    server_name: str = "",
    insecure: bool = False,
    patience_seconds: float = 300.0,
) -> Client:
    """A client of the controller at an address; what is not given is as the environment says (`channel.of_environment`).

    `namespace` is that of runs and datasets where no other is given. A watch, upload or download that breaks is gone on with until the
    server has been away for `patience_seconds`.
    """
    told = of_environment()
    target = Target(
        address=address or told.address,
        token=told.token if token is None else token,
        ca=told.ca if ca is None else ca,
        server_name=server_name or told.server_name,
        insecure=insecure or told.insecure,
        certificate=told.certificate,
        key=told.key,
    )
    return Client(target, namespace=namespace, patience_seconds=patience_seconds)


class Client:
    """Calls of RunService. Entered, it may be used; left, its connection ends."""

    def __init__(self, target: Target, *, namespace: str = "default", patience_seconds: float = 300.0) -> None:
        self.namespace = namespace
        self._target = target
        self._patience = patience_seconds
        self._channel = target.channel()
        self._stub: Any = run_service_pb2_grpc.RunServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close()

    async def create_run(
        self, run: TrainingRun | Mapping[str, Any] | str | Path, *, namespace: str = "", request_id: str = "", validate_only: bool = False
    ) -> TrainingRun:
        """Create a run from a message, the values of its YAML, or the path of a YAML file; checked here before it is sent.

        The same `request_id` again gives the run of the first call; without one, each call makes its own, so that gRPC may repeat it.
        """
        found = _message(run)
        request = pb.CreateRunRequest(
            namespace=namespace or found.metadata.namespace or self.namespace,
            run=found,
            request_id=request_id or str(uuid.uuid4()),
            validate_only=validate_only,
        )
        made: TrainingRun = (await self._call(self._stub.CreateRun, request)).run
        return made

    async def get_run(self, run: Run) -> TrainingRun:
        """The run as it stands."""
        found: TrainingRun = (await self._call(self._stub.GetRun, pb.GetRunRequest(run=self.ref(run)))).run
        return found

    async def list_runs(self, namespace: str | None = None, *, phase: str = "") -> AsyncIterator[TrainingRun]:
        """Runs of a namespace, newest first; with an empty one all that the caller may see."""
        token = ""
        while True:
            where = self.namespace if namespace is None else namespace
            page = await self._call(self._stub.ListRuns, pb.ListRunsRequest(namespace=where, phase=phase, page_token=token))
            for run in page.runs:
                yield run
            token = page.next_page_token
            if not token:
                return

    async def watch(self, run: Run, *, start: int = 0) -> AsyncIterator[pb.RunEvent]:
        """Events of a run until it ends: from `start` on, or with 0 from how it stands now.

        A break is gone on from. Where the events of a long break are no longer kept, the next one is how the run stands then.
        """
        following, ref = start, self.ref(run)
        patience = Patience(self._patience)
        while True:
            try:
                async for answer in self._stream(self._stub.WatchRun, pb.WatchRunRequest(run=ref, start_sequence=following)):
                    patience.renew()
                    if following and answer.event.sequence < following:
                        continue
                    following = answer.event.sequence + 1
                    yield answer.event
                return
            except Refused as error:
                if error.code is grpc.StatusCode.OUT_OF_RANGE and following:
                    if following == start:
                        raise
                    found = await self.get_run(run)
                    following = max(found.status.sequence, 1)
                elif error.code in AWAY:
                    await patience.pause(error)
                else:
                    raise

    async def wait(self, run: Run) -> TrainingRun:
        """The run once it has ended."""
        async for _ in self.watch(run):
            pass
        return await self.get_run(run)

    async def suspend(self, run: Run) -> TrainingRun:
        """Let the running stage save its state and free its devices."""
        found: TrainingRun = (await self._call(self._stub.SuspendRun, pb.SuspendRunRequest(run=self.ref(run)))).run
        return found

    async def resume(self, run: Run) -> TrainingRun:
        """Let a suspended run go on where it stopped."""
        found: TrainingRun = (await self._call(self._stub.ResumeRun, pb.ResumeRunRequest(run=self.ref(run)))).run
        return found

    async def cancel(self, run: Run) -> TrainingRun:
        """Stop a run for good, with its state saved."""
        found: TrainingRun = (await self._call(self._stub.CancelRun, pb.CancelRunRequest(run=self.ref(run)))).run
        return found

    async def delete(self, run: Run, *, artifacts: bool = False) -> None:
        """Delete a run, with `artifacts` also what nothing else needs of what it made."""
        request = pb.DeleteRunRequest(run=self.ref(run), delete_artifacts=artifacts)
        await self._call(self._stub.DeleteRun, request, seconds=_LONG)

    async def inspect(
        self, run: TrainingRun | Mapping[str, Any] | str | Path, *, namespace: str = ""
    ) -> AsyncIterator[Progress | Inspection]:
        """A dry run of the controller: progress first, the finding last."""
        found = _message(run)
        request = pb.InspectRunRequest(namespace=namespace or found.metadata.namespace or self.namespace, run=found)
        async for answer in self._stream(self._stub.InspectRun, request, seconds=_LONG):
            yield answer.progress if answer.HasField("progress") else answer.inspection

    async def push(self, folder: str | Path, dataset: str, *, namespace: str = "", told: upload.Told | None = None) -> upload.Pushed:
        """Bring a folder into the store as a dataset (`datasets/photographs`) or model (`models/...`).

        Only files that are not there yet are sent; each counts once its SHA-256 is right there.
        """
        return await upload.push(self, Path(folder), namespace or self.namespace, dataset, told or upload.silent)

    async def outputs(self, run: Run) -> list[pb.OutputFile]:
        """The files that a run has given."""
        return list((await self._call(self._stub.ListOutputs, pb.ListOutputsRequest(run=self.ref(run)))).files)

    async def download(self, run: Run, folder: str | Path, *, told: download.Told | None = None) -> list[Path]:
        """Bring a run's files into a folder, as `kubetuner run --out` writes them. What is there and right is not brought again."""
        return await download.download(self, run, Path(folder), told or download.silent)

    async def read_output(self, run: Run, path: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Bytes of a file from an offset on, over breaks."""
        place, patience = offset, Patience(self._patience)
        while True:
            try:
                request = pb.ReadOutputRequest(run=self.ref(run), path=path, offset=place)
                async for answer in self._stream(self._stub.ReadOutput, request):
                    patience.renew()
                    place += len(answer.data)
                    yield answer.data
                return
            except Refused as error:
                if error.code not in AWAY:
                    raise
                await patience.pause(error)

    async def compare(self, namespace: str, dataset: str, files: list[pb.DatasetFile]) -> list[str]:
        """Paths of those files that the store lacks."""
        request = pb.CompareDatasetRequest(namespace=namespace, dataset=dataset, files=files)
        return list((await self._call(self._stub.CompareDataset, request, seconds=600.0)).missing)

    async def upload(self, parts: AsyncIterator[pb.UploadDatasetRequest]) -> pb.UploadDatasetResponse:
        """One stream of files. Raises Refused where it breaks; what came whole stays."""
        call = self._stub.UploadDataset(parts, metadata=self._target.metadata(), timeout=24 * _LONG)
        return await self._answer(call)

    def patience(self) -> Patience:
        """For those who repeat calls."""
        return Patience(self._patience)

    def ref(self, run: Run) -> pb.RunRef:
        """Namespace and name of a run."""
        if isinstance(run, str):
            return pb.RunRef(namespace=self.namespace, name=run)
        return pb.RunRef(namespace=run.metadata.namespace or self.namespace, name=run.metadata.name)

    async def _call(self, method: Any, request: Any, *, seconds: float = _SECONDS) -> Any:
        return await self._answer(method(request, metadata=self._target.metadata(), timeout=seconds))

    async def _answer(self, call: Awaitable[_Answer]) -> _Answer:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise explain(error) from error

    async def _stream(self, method: Any, request: Any, *, seconds: float = 24 * _LONG) -> AsyncIterator[Any]:
        call = method(request, metadata=self._target.metadata(), timeout=seconds)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise explain(error) from error
        finally:
            call.cancel()


def _message(run: TrainingRun | Mapping[str, Any] | str | Path) -> TrainingRun:
    if isinstance(run, TrainingRun):
        return run
    if isinstance(run, str | Path):
        return load_run(Path(run))
    if not isinstance(run, Mapping):
        raise InputError(f"a run is a TrainingRun, the values of its YAML, or the path of a file; {type(run).__name__} given")
    return parse_run(dict(run))
