"""Look at every picture once: read, hash, and decode what no earlier run has decoded.

In: sources. Out: one row a picture, in the order of (source, key). What decoding tells is kept in the store at once, so that
a run that is killed here looks again only at the last few seconds' pictures.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

import pyarrow as pa

from kubetuner.artifacts import facts
from kubetuner.artifacts.facts import Fact, Facts
from kubetuner.context import StageContext
from kubetuner.diffusion import pixels
from kubetuner.ingest.core import captions, decoding, faces, sources
from kubetuner.ingest.core.captions import Captions, Filter
from kubetuner.ingest.core.decoding import Decoders
from kubetuner.ingest.core.seen import SCHEMA, Seen, pack
from kubetuner.ingest.core.sources import Source

_CHUNK: Final = 512
_TASK: Final = 4
_LARGER_TASK: Final = 128
"""Where other processes decode: what is sent to one at a time."""
_AHEAD: Final = 1024
"""Pictures, or two tasks a thread where those are more."""
_SHARD: Final = 4096
"""Most facts in a shard: each is two files that are waited for until they are on the disk."""
_SECONDS_AT_RISK: Final = 10.0


@dataclass(slots=True, kw_only=True)
class _Picture:
    size: int
    sha256: bytes
    fact: Fact
    """Empty until it is decoded."""
    fresh: bool
    captions: Captions


Take = Callable[[int, Source], Iterator[pa.RecordBatch]]
"""Rows of a source (or a part of one) by its number among all sources."""


def look(found: Sequence[Source], ctx: StageContext, seen: Seen, *, processes: int | None = None) -> Seen:
    """Note a row for every picture of the sources. Counts `imagesRead` and keeps facts in the store.

    So many other `processes` decode small pictures; None lets their number and the cores decide. The rows are the same.
    """
    with looking(found, ctx, processes=processes) as take:
        for number, source in enumerate(found):
            for batch in take(number, source):
                seen.add(pack([batch]))
    return seen


@contextmanager
def looking(found: Sequence[Source], ctx: StageContext, *, processes: int | None = None) -> Iterator[Take]:
    """What looks at a source, or at a part of it."""
    total, cores = sum(len(source.paths) for source in found), _cores()
    known = facts.load(ctx.store)
    filters = [captions.compile_filters(source.dataset.caption_filters, f"{source.path}.captionFilters") for source in found]
    for source in found:
        if source.dataset.crop_style == "face":
            faces.require(f"{source.path}.cropStyle")
    ctx.progress.start("ingest", "images", total)
    fresh = _Fresh(ctx)
    count = decoding.worthwhile(total, cores) if processes is None else processes
    threads = cores + count  # while one waits for a process, another reads what that gets next
    task = _LARGER_TASK if count else _TASK
    ahead = max(_AHEAD // task, 2 * threads)
    with Decoders(count) as decoders, ThreadPoolExecutor(threads, thread_name_prefix="ingest") as pool:

        def take(number: int, source: Source) -> Iterator[pa.RecordBatch]:
            look_at = partial(_look_at, source, known, filters[number], decoders, ctx)
            pictures = map(fresh.note, _in_order((pool.submit(look_at, keys) for keys in source.batches(task)), ahead))
            for start in range(0, len(source.paths), _CHUNK):
                yield _batch(number, source.paths.slice(start, _CHUNK), list(islice(pictures, _CHUNK)))
                ctx.check()

        try:
            yield take
        finally:  # what was decoded before an interruption is kept too
            fresh.flush()


def _in_order(tasks: Iterable[Future[list[_Picture]]], most: int) -> Iterator[_Picture]:
    """The pictures of a source in the order of their keys; the pool is always some tasks ahead. A task is several small files' worth."""
    ahead: deque[Future[list[_Picture]]] = deque()
    try:
        for task in tasks:
            ahead.append(task)
            if len(ahead) > most:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


class _Fresh:
    """Facts that this run found and that no shard holds yet."""

    def __init__(self, ctx: StageContext) -> None:
        self._ctx = ctx
        self._facts: dict[bytes, Fact] = {}
        self._since = time.monotonic()

    def note(self, picture: _Picture) -> _Picture:
        if picture.fresh:
            self._facts[picture.sha256] = picture.fact
            self._ctx.work["imagesRead"] += 1
        if len(self._facts) >= _SHARD or time.monotonic() - self._since > _SECONDS_AT_RISK:
            self.flush()
        self._ctx.progress.advance()
        return picture

    def flush(self) -> None:
        facts.write(self._ctx.store, self._facts)
        self._facts = {}
        self._since = time.monotonic()


def _look_at(
    source: Source, known: Facts, filters: Sequence[Filter], decoders: Decoders, ctx: StageContext, keys: Sequence[str]
) -> list[_Picture]:
    """The pictures of some keys. Small ones are decoded together, and meanwhile all of these are held; large ones one by one."""
    seek_face = source.dataset.crop_style == "face"
    pictures: list[_Picture] = []
    small: list[tuple[_Picture, bytes]] = []
    for key in keys:
        ctx.check()
        picture, content = _read(source, known, filters, key)
        pictures.append(picture)
        if picture.fresh and decoders.count and len(content) <= decoding.LARGEST_SMALL:
            small.append((picture, content))
        elif picture.fresh:
            picture.fact = Fact(**decoding.decode(content, seek_face))
    if small:
        decoded = decoders.decode([content for _, content in small], seek_face)
        for (picture, _), found in zip(small, decoded, strict=True):
            picture.fact = Fact(**found)
    return pictures


def _read(source: Source, known: Facts, filters: Sequence[Filter], key: str) -> tuple[_Picture, bytes]:
    """A picture and its file's content; it is fresh where it is still to be decoded."""
    if (size := source.oversized.get(key)) is not None:
        return _unread(size, pixels.too_many_bytes(size)), b""
    content = sources.read(source, key)
    if isinstance(content, str):
        return _unread(0, pixels.PictureError("unreadable", f"the file cannot be read ({content})")), b""
    sha256 = hashlib.sha256(content).digest()
    fact = known.get(sha256, face=source.dataset.crop_style == "face")
    found = captions.find(source, key, filters)
    return _Picture(size=len(content), sha256=sha256, fact=fact or Fact(), fresh=fact is None, captions=found), content


def _unread(size: int, error: pixels.PictureError) -> _Picture:
    fact = Fact(reason=error.reason, detail=error.detail)
    return _Picture(size=size, sha256=b"", fact=fact, fresh=False, captions=Captions())


def _batch(source: int, paths: pa.ChunkedArray, pictures: Sequence[_Picture]) -> pa.RecordBatch:
    rows = [picture.fact for picture in pictures]
    columns = {
        "source": [source] * len(pictures),
        "path": paths.combine_chunks() if paths.num_chunks > 1 else paths.chunk(0),  # shares the source's memory
        "bytes": [picture.size for picture in pictures],
        "sha256": [picture.sha256 for picture in pictures],
        "pixels": [bytes.fromhex(row.pixels) for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "reason": [row.reason or picture.captions.reason for row, picture in zip(rows, pictures, strict=True)],
        "detail": [row.detail or picture.captions.detail for row, picture in zip(rows, pictures, strict=True)],
        "face_across": [None if row.face is None else row.face[0] for row in rows],
        "face_down": [None if row.face is None else row.face[1] for row in rows],
        "captions": [list(picture.captions.texts) for picture in pictures],
    }
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def _cores() -> int:
    """How many this process has; so many threads look, at the least: Pillow and hashlib compute outside Python's lock."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
