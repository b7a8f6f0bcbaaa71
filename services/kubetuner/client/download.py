"""A run's files into a folder: in order, each checked by its SHA-256 before it takes its place, gone on with after a break.

What came of a file lies beside its place as `.NAME.SHA.part` until it is whole; the next try goes on behind it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from functools import partial
from io import BufferedRandom
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from kubetuner.errors import ArtifactError, KubeTunerError
from kubetuner.v1alpha1 import run_service_pb2 as pb

if TYPE_CHECKING:
    from kubetuner.client.client import Client, Run

Told = Callable[[str, int, int], None]
"""Told how far it is: the file, bytes that came, and bytes in all."""
_PIECE: Final = 1 << 20


def silent(path: str, size: int, total: int) -> None:
    """Whom nobody tells."""


async def download(client: Client, run: Run, folder: Path, told: Told) -> list[Path]:
    """Bring what is missing or differs; gives the paths of all files."""
    files = await client.outputs(run)
    total = sum(file.size_bytes for file in files)
    paths = []
    for file in files:
        target = folder / safe(file.path)
        moved = partial(_tell, told, file.path, total)
        if await asyncio.to_thread(is_right, target, file.size_bytes, file.sha256):
            moved(file.size_bytes)
        else:
            await _bring(client, run, file, target, moved)
        paths.append(target)
    return paths


def _tell(told: Told, path: str, total: int, size: int) -> None:
    told(path, size, total)


async def _bring(client: Client, run: Run, file: pb.OutputFile, target: Path, told: Callable[[int], None]) -> None:
    beside = target.with_name(f".{target.name}.{file.sha256[:12]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "ab+") as part:
            digest = await asyncio.to_thread(_digest, part, file.size_bytes)
            told(part.tell())
            async for data in client.read_output(run, file.path, part.tell()):
                digest.update(data)
                part.write(data)
                told(len(data))
            size = part.tell()
        if size != file.size_bytes or digest.hexdigest() != file.sha256:
            beside.unlink()
            raise ArtifactError(f"{file.path}: came damaged (its SHA-256 is not the one that was named); run the same command again")
        os.replace(beside, target)
    except OSError as error:
        raise KubeTunerError(f"{target}: cannot be written ({error.strerror}); free the place, or give another folder") from error


def safe(path: str) -> PurePosixPath:
    """A path that stays below the folder, whoever named it. Raises ArtifactError."""
    found = PurePosixPath(path)
    if not path or found.is_absolute() or ".." in found.parts or "\0" in path or "\\" in path:
        raise ArtifactError(f"{path!r}: no path of an output; the server is not one of ours")
    return found


def is_right(path: Path, size: int, sha256: str) -> bool:
    """Whether a file is there with this content."""
    try:
        if path.stat().st_size != size:
            return False
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def _digest(part: BufferedRandom, size: int) -> hashlib._Hash:
    """The digest of what came before; the file stands at its end afterwards. One that is too long is begun anew."""
    if part.tell() > size:
        part.truncate(0)
    part.seek(0)
    digest = hashlib.sha256()
    while data := part.read(_PIECE):
        digest.update(data)
    return digest
