"""RunService from Python without asyncio: the same calls, each waiting for its answer.

with kubetuner.connect_sync("dns:///kubetuner.kubetuner:443", token=...) as kt:
    run = kt.create_run("run.yaml", namespace="team")
    for event in kt.watch(run):
        print(event.sequence, event.reason, event.message)
    kt.download(run, "out")
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, Self, TypeVar

from kubetuner.client import client, download, upload
from kubetuner.client.channel import Token
from kubetuner.client.client import Client, Run
from kubetuner.v1alpha1 import run_service_pb2 as pb
from kubetuner.v1alpha1.inspection_pb2 import Inspection
from kubetuner.v1alpha1.training_run_pb2 import Progress, TrainingRun

_Result = TypeVar("_Result")


def connect_sync(
    address: str = "",
    *,
    token: Token = None,
    ca: str | Path | bytes | None = None,
    namespace: str = "default",
    server_name: str = "",
    insecure: bool = False,
    patience_seconds: float = 300.0,
) -> SyncClient:
    """As `kubetuner.connect`, without asyncio."""

    def make() -> Client:
        return client.connect(
            address,
            token=token,
            ca=ca,
            namespace=namespace,
            server_name=server_name,
            insecure=insecure,
            patience_seconds=patience_seconds,
        )

    return SyncClient(make)


class SyncClient:
    """Calls of RunService, made by a loop in a thread of its own. Threads may share it."""

    def __init__(self, make: Any) -> None:
        """`make` gives the asyncio client, on the loop that it is to live on."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kubetuner-client", daemon=True)
        self._thread.start()
        self._under_way: set[Future[Any]] = set()
        try:
            self._client: Client = self._wait(_made(make))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        if self._loop.is_running():
            self._wait(self._client.close())
            self._end()

    def interrupt(self) -> None:
        """End all calls under way, from another thread or a signal's handler; they raise CancelledError."""
        for call in list(self._under_way):
            call.cancel()

    def create_run(
        self, run: TrainingRun | Mapping[str, Any] | str | Path, *, namespace: str = "", request_id: str = "", validate_only: bool = False
    ) -> TrainingRun:
        """As `Client.create_run`."""
        return self._wait(self._client.create_run(run, namespace=namespace, request_id=request_id, validate_only=validate_only))

    def get_run(self, run: Run) -> TrainingRun:
        """As `Client.get_run`."""
        return self._wait(self._client.get_run(run))

    def list_runs(self, namespace: str | None = None, *, phase: str = "") -> Iterator[TrainingRun]:
        """As `Client.list_runs`."""
        return self._each(self._client.list_runs(namespace, phase=phase))

    def watch(self, run: Run, *, start: int = 0) -> Iterator[pb.RunEvent]:
        """As `Client.watch`."""
        return self._each(self._client.watch(run, start=start))

    def wait(self, run: Run) -> TrainingRun:
        """As `Client.wait`."""
        return self._wait(self._client.wait(run))

    def suspend(self, run: Run) -> TrainingRun:
        """As `Client.suspend`."""
        return self._wait(self._client.suspend(run))

    def resume(self, run: Run) -> TrainingRun:
        """As `Client.resume`."""
        return self._wait(self._client.resume(run))

    def cancel(self, run: Run) -> TrainingRun:
        """As `Client.cancel`."""
        return self._wait(self._client.cancel(run))

    def delete(self, run: Run, *, artifacts: bool = False) -> None:
        """As `Client.delete`."""
        self._wait(self._client.delete(run, artifacts=artifacts))

    def inspect(self, run: TrainingRun | Mapping[str, Any] | str | Path, *, namespace: str = "") -> Iterator[Progress | Inspection]:
        """As `Client.inspect`."""
        return self._each(self._client.inspect(run, namespace=namespace))

    def push(self, folder: str | Path, dataset: str, *, namespace: str = "", told: upload.Told | None = None) -> upload.Pushed:
        """As `Client.push`."""
        return self._wait(self._client.push(folder, dataset, namespace=namespace, told=told))

    def outputs(self, run: Run) -> list[pb.OutputFile]:
        """As `Client.outputs`."""
        return self._wait(self._client.outputs(run))

    def download(self, run: Run, folder: str | Path, *, told: download.Told | None = None) -> list[Path]:
        """As `Client.download`."""
        return self._wait(self._client.download(run, folder, told=told))

    def read_output(self, run: Run, path: str, offset: int = 0) -> Iterator[bytes]:
        """As `Client.read_output`."""
        return self._each(self._client.read_output(run, path, offset))

    def _each(self, found: AsyncIterator[_Result]) -> Iterator[_Result]:
        try:
            while True:
                try:
                    yield self._wait(_next(found))
                except StopAsyncIteration:
                    return
        finally:
            if self._loop.is_running():
                self._wait(_closed(found))

    def _wait(self, call: Coroutine[Any, Any, _Result]) -> _Result:
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        self._under_way.add(future)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise
        finally:
            self._under_way.discard(future)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


Interrupted = CancelledError
"""What a call raises that `interrupt` ended."""


async def _made(make: Any) -> Client:
    found: Client = make()
    return found


async def _next(found: AsyncIterator[_Result]) -> _Result:
    return await anext(found)


async def _closed(found: Any) -> None:
    await found.aclose()
