"""Datasets over gRPC: which files are missing, and files taken as they come, each seen only once its size and SHA-256 are right.

A dataset belongs to the namespace that first uploaded it here; others may name it in their runs, but not change it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import grpc

from kubetuner.artifacts.dataset import UPLOADS, Dataset, Incoming
from kubetuner.artifacts.files import File
from kubetuner.errors import InputError
from kubetuner.rpc.errors import Refused
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1.run_service_pb2 import (
    CompareDatasetRequest,
    CompareDatasetResponse,
    DatasetFile,
    UploadDatasetRequest,
    UploadDatasetResponse,
    UploadHeader,
)

_OWNER: Final = "@owner/namespace.json"
_MOST_UPLOADS: Final = 8
_MOST_BYTES: Final = 16 << 30
_Result = TypeVar("_Result")


class Datasets:
    """Takes files into the store; the store is spoken to in threads of `executor`."""

    def __init__(self, store: ObjectStore, executor: Executor, *, most_bytes: int = _MOST_BYTES) -> None:
        """`most_bytes` is the largest file that is taken: it lies in the temporary folder until it is whole."""
        self._store = store
        self._executor = executor
        self._most_bytes = most_bytes
        self._uploads = 0

    async def compare(self, request: CompareDatasetRequest) -> CompareDatasetResponse:
        """What an upload has to send."""
        files = [_file(row) for row in request.files]
        return CompareDatasetResponse(missing=await self._away(lambda: Dataset(self._store, request.dataset).compare(files)))

    async def upload(self, header: UploadHeader, parts: AsyncIterator[UploadDatasetRequest]) -> UploadDatasetResponse:
        """Take files; those that are whole stay taken, whatever becomes of the rest."""
        if self._uploads >= _MOST_UPLOADS:
            words = f"{_MOST_UPLOADS} uploads are under way here; ask again when one has ended"
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_UPLOADS", words, retry_seconds=10.0)
        self._uploads += 1
        try:
            dataset = await self._away(lambda: Dataset(self._store, header.dataset))
            await self._away(lambda: own(self._store, header.dataset, header.namespace))
            try:
                files, size = await self._take_all(dataset, parts)
            except OSError as error:
                words = f"a file could not be put down here ({error.strerror}); push it straight to the object store, or ask again later"
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_ROOM", words, retry_seconds=30.0) from error
            finally:
                await asyncio.shield(self._away(dataset.flush))  # also where the caller is gone: what came whole is not to come again
            return UploadDatasetResponse(files=files, size_bytes=size, uri=dataset.uri)
        finally:
            self._uploads -= 1

    async def _take_all(self, dataset: Dataset, parts: AsyncIterator[UploadDatasetRequest]) -> tuple[int, int]:
        files = size = 0
        part = await anext(parts, None)
        while part is not None:
            if part.WhichOneof("part") != "file":
                raise InputError("an upload is a header, then for each file one `file` and its `data`; something else came")
            row = _file(part.file)
            if row.size > self._most_bytes:
                words = f"{row.path}: {row.size} bytes, and at most {self._most_bytes} are taken here; push it straight to the object store"
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "FILE_TOO_LARGE", words)
            async with self._receive(dataset, row) as incoming:
                while (part := await anext(parts, None)) is not None and part.WhichOneof("part") == "data":
                    await self._away(_writer(incoming, part.data))
                if part is not None and part.WhichOneof("part") == "header":
                    raise InputError("a second header came; send one upload for each dataset")
            files, size = files + 1, size + row.size
        return files, size

    @asynccontextmanager
    async def _receive(self, dataset: Dataset, file: File) -> AsyncIterator[Incoming]:
        """`Dataset.receive` in a thread."""
        around = dataset.receive(file)
        incoming = await self._away(around.__enter__)
        try:
            yield incoming
        except BaseException as error:
            failure = error  # the name of an except clause is gone when the thread looks
            await asyncio.shield(self._away(lambda: around.__exit__(type(failure), failure, failure.__traceback__)))
            raise
        await asyncio.shield(self._away(lambda: around.__exit__(None, None, None)))

    async def _away(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def own(store: ObjectStore, name: str, namespace: str) -> None:
    """Take a dataset for a namespace. Raises Refused where it, one that it lies in, or one in it, is another's."""
    mine = json.dumps({"namespace": namespace}).encode()
    for key in _owners(store, name):
        found = json.loads(store.get(key))["namespace"]
        if found != namespace:
            raise Refused(
                grpc.StatusCode.PERMISSION_DENIED,
                "DATASET_OF_ANOTHER",
                f"{key.removeprefix(f'{UPLOADS}/').removesuffix(f'/{_OWNER}')} belongs to another namespace; name this dataset otherwise",
            )
    if not store.put(f"{UPLOADS}/{name}/{_OWNER}", mine) and store.get(f"{UPLOADS}/{name}/{_OWNER}") != mine:
        own(store, name, namespace)  # somebody was quicker: say whose it is now


def _owners(store: ObjectStore, name: str) -> Iterator[str]:
    parts = name.split("/")
    for count in range(2, len(parts)):
        key = f"{UPLOADS}/{'/'.join(parts[:count])}/{_OWNER}"
        if store.head(key) is not None:
            yield key
    yield from (info.key for info in store.list(f"{UPLOADS}/{name}/") if info.key.endswith(f"/{_OWNER}"))


def _writer(incoming: Incoming, data: bytes) -> Callable[[], Any]:
    return lambda: incoming.write(data)


def _file(row: DatasetFile) -> File:
    return File(path=row.path, size=row.size_bytes, sha256=row.sha256)
