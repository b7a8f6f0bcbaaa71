"""A folder into a dataset of the store: hashed here, compared there, and only what is missing sent, several files at once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kubetuner.client.patience import AWAY
from kubetuner.errors import InputError
from kubetuner.rpc.errors import Refused
from kubetuner.v1alpha1 import run_service_pb2 as pb

if TYPE_CHECKING:
    from kubetuner.client.client import Client

Told = Callable[[str, str, int, int], None]
"""Told how far it is: what is done (`hash` or `send`), the file, bytes of it, and bytes in all."""
_PIECE: Final = 1 << 20
_STREAMS: Final = 4
_FILES: Final = 5_000
_BYTES: Final = 2 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What an upload came to."""

    uri: str
    """Address to write into `source.uri` of a dataset, or into `model.path`."""
    files: int
    """In the folder."""
    sent: int
    """Files that were missing, and were sent."""
    sent_bytes: int


def silent(what: str, path: str, size: int, total: int) -> None:
    """Whom nobody tells."""


async def push(client: Client, folder: Path, namespace: str, dataset: str, told: Told) -> Pushed:
    """Send what is missing, over breaks, until nothing is."""
    files = await asyncio.to_thread(lambda: list(describe(folder, told)))
    if not files:
        raise InputError(f"{folder}: holds no files; give the folder of a dataset")
    patience = client.patience()
    sent: set[str] = set()
    while True:
        missing = await _missing(client, namespace, dataset, files)
        if not missing:
            break
        done, failure = await _send(client, folder, namespace, dataset, missing, told)
        sent |= done
        if failure is None:
            break  # every stream was answered: each of its files was checked there
        if done:
            patience.renew()
        await patience.pause(failure)
    size = sum(row.size_bytes for row in files if row.path in sent)
    return Pushed(uri=f"store:{dataset}", files=len(files), sent=len(sent), sent_bytes=size)


def describe(folder: Path, told: Told = silent) -> Iterator[pb.DatasetFile]:
    """Every file below a folder with its size and SHA-256, in the order of their paths; hidden ones are left out."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no folder; give the one that holds the files")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder)))
    total = sum(path.stat().st_size for path in paths)
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); give the right to it, or take it away") from error
        told("hash", name, size, total)
        yield pb.DatasetFile(path=name, size_bytes=size, sha256=digest)


async def _missing(client: Client, namespace: str, dataset: str, files: Sequence[pb.DatasetFile]) -> list[pb.DatasetFile]:
    found: list[pb.DatasetFile] = []
    for page in _pages(files):
        paths = set(await client.compare(namespace, dataset, page))
        found += [row for row in page if row.path in paths]
    return found


def _pages(files: Sequence[pb.DatasetFile]) -> Iterator[list[pb.DatasetFile]]:
    """Parts of the list that fit into a call."""
    page: list[pb.DatasetFile] = []
    size = 0
    for row in files:
        size += row.ByteSize() + 8
        if page and (len(page) == _FILES or size > _BYTES):
            yield page
            page, size = [], row.ByteSize() + 8
        page.append(row)
    yield page


async def _send(
    client: Client, folder: Path, namespace: str, dataset: str, files: Sequence[pb.DatasetFile], told: Told
) -> tuple[set[str], Refused | None]:
    """Send files over several streams; gives those that were taken, and why the rest were not where a repeat may help."""
    total = sum(row.size_bytes for row in files)
    shares = [share for share in (files[number::_STREAMS] for number in range(_STREAMS)) if share]
    header = pb.UploadDatasetRequest(header=pb.UploadHeader(namespace=namespace, dataset=dataset))
    calls = [client.upload(_parts(header, folder, share, told, total)) for share in shares]
    done: set[str] = set()
    failure: Refused | None = None
    for share, answer in zip(shares, await asyncio.gather(*calls, return_exceptions=True), strict=True):
        if isinstance(answer, Refused) and answer.code in AWAY and answer.reason != "FILE_TOO_LARGE":
            failure = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            done |= {row.path for row in share}
    return done, failure


async def _parts(
    header: pb.UploadDatasetRequest, folder: Path, files: Sequence[pb.DatasetFile], told: Told, total: int
) -> AsyncIterator[pb.UploadDatasetRequest]:
    yield header
    for row in files:
        yield pb.UploadDatasetRequest(file=row)
        try:
            with open(folder / row.path, "rb") as file:
                while data := await asyncio.to_thread(file.read, _PIECE):
                    yield pb.UploadDatasetRequest(data=data)
        except OSError as error:
            raise InputError(f"{folder / row.path}: cannot be read any more ({error.strerror}); push again") from error
        told("send", row.path, row.size_bytes, total)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
