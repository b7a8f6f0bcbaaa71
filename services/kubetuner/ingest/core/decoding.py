"""What the contents of picture files tell when they are decoded: by the threads of this process or, of many files, by processes beside it.

Pillow's readers are Python for the better part of a small picture's time and hold the interpreter's lock: two threads look at hardly more
small pictures than one. A process costs a quarter of a second to start, so a few pictures are not worth one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

from kubetuner.diffusion import pixels
from kubetuner.errors import KubeTunerError
from kubetuner.ingest.core import faces

Told = dict[str, Any]
"""Fields of a `facts.Fact`; plain, so that a process beside us needs nothing but Pillow."""
MANY: Final = 2000
"""Pictures from which on processes are worth their start."""


class Decoders(Protocol):
    """Whoever decodes; threads may share one."""

    def decode(self, contents: Sequence[bytes], *, seek_face: bool) -> list[Told]:
        """What each file's content tells."""


class Here:
    """Decodes in the thread that asks."""

    def decode(self, contents: Sequence[bytes], *, seek_face: bool) -> list[Told]:
        return decode_all(contents, seek_face)


class Beside:
    """Decodes in processes of its own. Use as a context."""

    def __init__(self, processes: int) -> None:
        # Not forked: a copy of a process with threads may inherit a lock that nobody will ever open.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def decode(self, contents: Sequence[bytes], *, seek_face: bool) -> list[Told]:
        try:
            return self._pool.submit(decode_all, contents, seek_face).result()
        except BrokenProcessPool as error:
            problem = "a process that decodes pictures was ended from outside, perhaps for its memory"
            raise KubeTunerError(f"{problem}; run again, with more memory if it happens again") from error


def choose(pictures: int, cores: int) -> AbstractContextManager[Decoders]:
    """Whoever decodes so many pictures fastest."""
    return Beside(cores) if pictures >= MANY and cores > 1 else nullcontext(Here())


def decode_all(contents: Sequence[bytes], seek_face: bool) -> list[Told]:
    """What each file's content tells."""
    return [_decode(content, seek_face) for content in contents]


def _decode(content: bytes, seek_face: bool) -> Told:
    try:
        image = pixels.decode(content)
    except pixels.PictureError as error:
        return {"reason": error.reason, "detail": error.detail, "face_sought": seek_face}
    face = faces.find(image) if seek_face else None
    return {"pixels": pixels.digest(image), "width": image.width, "height": image.height, "face_sought": seek_face, "face": face}


def _begin() -> None:
    """A process's first act: leave interruptions to whoever started it, and end when that one has ended in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process that another has started"
    parent.join()
    os._exit(1)
