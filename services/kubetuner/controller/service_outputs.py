"""Outputs over gRPC: the files that a finished run gives, as `kubetuner run --out` writes them.

The stage `evaluate` keeps exports and report in the store; `run.resolved.yaml` and `result.json` are put together here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
from google.protobuf import json_format

from kubetuner.artifacts import objects, outputs
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.controller.api import Json
from kubetuner.errors import ArtifactError
from kubetuner.rpc.errors import Refused
from kubetuner.spec.resolve import resolve, to_yaml
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1.run_service_pb2 import OutputFile
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

PIECE: Final = 1 << 20
"""Bytes in a message."""
_WINDOW: Final = 8 << 20
_KEPT: Final = 64
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """All files of a run."""

    files: dict[str, outputs.File]
    made: dict[str, bytes]
    """Content of those that are not kept in the store."""


class Outputs:
    """Reads files of runs; the store is spoken to in threads of `executor`."""

    def __init__(self, store: ObjectStore, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._given: OrderedDict[tuple[str, str], Given] = OrderedDict()

    async def list(self, run: Json) -> list[OutputFile]:
        """The files of a run, by path. Raises Refused where it has not succeeded."""
        given = await self._find(run)
        return [OutputFile(path=path, size_bytes=file.size, sha256=file.sha256) for path, file in sorted(given.files.items())]

    async def read(self, run: Json, path: str, offset: int) -> AsyncIterator[bytes]:
        """Bytes of a file from an offset on."""
        given = await self._find(run)
        file = given.files.get(path)
        if file is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, "NO_SUCH_OUTPUT", f"the run gives no file {path!r}; ListOutputs names them")
        if offset > file.size:
            words = f"{path} has {file.size} bytes; an offset of {offset} lies past them"
            raise Refused(grpc.StatusCode.OUT_OF_RANGE, "OFFSET_PAST_END", words)
        if path in given.made:
            for start in range(offset, file.size, PIECE):
                yield given.made[path][start : start + PIECE]
            return
        async for piece in self._pieces(file, offset):
            yield piece

    async def _pieces(self, file: outputs.File, offset: int) -> AsyncIterator[bytes]:
        """One window ahead of who reads, so that the store and the caller are waited for at once."""
        starts = range(offset, file.size, _WINDOW)
        following = None
        try:
            for number, start in enumerate(starts):
                window = await (following or self._window(file, start))
                following = self._window(file, starts[number + 1]) if number + 1 < len(starts) else None
                for place in range(0, len(window), PIECE):
                    yield window[place : place + PIECE]
        finally:
            if following is not None:
                following.cancel()

    def _window(self, file: outputs.File, start: int) -> asyncio.Future[bytes]:
        return asyncio.ensure_future(self._away(lambda: self._store.get(file.key, start, min(_WINDOW, file.size - start))))

    async def _find(self, run: Json) -> Given:
        status, meta = run.get("status") or {}, run["metadata"]
        report = (status.get("artifacts") or {}).get("report")
        if status.get("phase") != "Succeeded" or not report:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                "RUN_NOT_SUCCEEDED",
                f"{meta['name']} is {status.get('phase') or 'not begun'}; only a run that has succeeded gives files",
            )
        key = (meta["uid"], report)
        if key not in self._given:
            self._given[key] = await self._away(lambda: gather(self._store, run))
            while len(self._given) > _KEPT:
                self._given.popitem(last=False)
        self._given.move_to_end(key)
        return self._given[key]

    async def _away(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def gather(store: ObjectStore, run: Json) -> Given:
    """All files of a run that has succeeded. Raises ArtifactError where they are not in the store."""
    resolved = resolved_run(run)
    artifacts = {noun: run["status"]["artifacts"][noun] for noun in ("manifest", "cache", "checkpoint", "report")}
    ref = outputs.reference(ArtifactRef(noun="report", fingerprint=artifacts["report"]), resolved)
    index = objects.find(store, ref)
    if index is None:
        raise ArtifactError(f"{ref.key('index.json')}: the run's files are not in {store.uri} any more; create the run again to make them")
    work, seconds = outputs.jobs(store, run["metadata"]["uid"])
    result = outputs.result(store, name=resolved.metadata.name, artifacts=artifacts, work=work, seconds=seconds)
    made = {outputs.RESOLVED: to_yaml(resolved).encode("utf-8"), outputs.RESULT: outputs.document(result)}
    files = {file.path: file for file in outputs.files(ref, index)}
    for path, data in made.items():
        files[path] = outputs.File(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return Given(files=files, made=made)


def resolved_run(run: Json) -> TrainingRun:
    """The run of a CR with every default filled, and of its metadata only what a user writes."""
    meta = {name: run["metadata"][name] for name in ("name", "namespace", "labels") if run["metadata"].get(name)}
    document = {"apiVersion": run["apiVersion"], "kind": run["kind"], "metadata": meta, "spec": run["spec"]}
    return resolve(json_format.ParseDict(document, TrainingRun(), ignore_unknown_fields=True))
