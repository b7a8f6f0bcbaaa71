"""What was seen of the pictures, kept in a file: a dataset may have more rows than memory should hold, and they are read but twice."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Final

import pyarrow as pa

from kubetuner.storage import transfer

SCHEMA: Final = pa.schema(
    [
        ("source", pa.int32()),  # position in the list of sources
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.binary()),  # empty where the file could not be read
        ("pixels", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("face_across", pa.float64()),
        ("face_down", pa.float64()),
        ("captions", pa.list_(pa.field("element", pa.string(), nullable=False))),
    ]
)
"""A row a picture."""


class Seen:
    """Rows in the order of (source, key), in batches of one source each, in a file of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, packed: bytes) -> None:
        """Take what `pack` gave; it comes after what there is."""
        with writing():
            self._file.seek(0, os.SEEK_END)
            self._file.write(len(packed).to_bytes(8) + packed)
            self._file.flush()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows."""
        self._file.seek(0)
        while size := self._file.read(8):
            yield from _unpack(self._file.read(int.from_bytes(size)))


def pack(batches: Iterable[pa.RecordBatch]) -> bytes:
    """Rows in Arrow's stream format, compressed."""
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        for batch in batches:
            stream.write_batch(batch)
    packed: bytes = out.getvalue().to_pybytes()
    return packed


def _unpack(packed: bytes) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_stream(packed) as stream:
        yield from stream


@contextmanager
def scratch() -> Iterator[IO[bytes]]:
    """An empty file where this machine keeps what can be fetched again, without a name: it goes even where this process is killed."""
    folder = transfer.cache_folder()
    with writing():
        file = tempfile.TemporaryFile(dir=folder if folder.is_dir() else None)  # noqa: SIM115 - closed below, whatever its disk says then
    try:
        yield file
    finally:
        with suppress(OSError):  # what could not be written was said, and nobody reads it any more
            file.close()


@contextmanager
def writing() -> Iterator[None]:
    """Around writes to such a file: a fault is named with its cure."""
    try:
        yield
    except OSError as error:
        raise transfer.unwritable(transfer.cache_folder(), error) from error
