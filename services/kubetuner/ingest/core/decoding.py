"""What decoding tells of a picture, found out in this process or, for small pictures in large numbers, in others.

    python -m kubetuner.ingest.core.decoding     answers batches of files from its input until that ends

Pillow decodes outside Python's lock, but opens a picture within it: of small pictures two threads decode no more than one. Another process
gets their bytes and gives back what they show. It knows of no sources, stores and captions, writes nothing, and ends with the process that
started it. One that was killed is not missed: its pictures are decoded here.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import IO, Any, Final, Self

from kubetuner.diffusion import pixels
from kubetuner.ingest.core import faces

LARGEST_SMALL: Final = 32 * 1024
"""Bytes of a file. Decoding a longer one takes ten times as long as what is done within Python's lock, and more memory."""
_MANY: Final = 8192
"""Pictures that are worth the start of processes: a quarter of a second of one core each, as much as 2,000 small pictures."""
_MOST: Final = 8
"""Each takes 40 MB, and what reads for all of them is one process: of the smallest files it keeps about four busy."""
_COMMAND: Final = (sys.executable, "-P", "-m", "kubetuner.ingest.core.decoding")

Found = dict[str, Any]
"""Fields of a Fact. Not one itself: it brings pyarrow along, and half of a process's memory would be that."""


def decode(content: bytes, seek_face: bool) -> Found:
    """Decode a file, and look for a face where it is asked for."""
    try:
        image = pixels.decode(content)
    except pixels.PictureError as error:
        return {"reason": error.reason, "detail": error.detail, "face_sought": seek_face}
    face = faces.find(image) if seek_face else None
    return {"pixels": pixels.digest(image), "width": image.width, "height": image.height, "face_sought": seek_face, "face": face}


def worthwhile(pictures: int, cores: int) -> int:
    """How many processes are to decode the small ones of so many pictures."""
    return min(cores, _MOST) if cores > 1 and pictures >= _MANY else 0


class Decoders:
    """Processes that decode, each started when it is first needed, and gone at the end. Threads share it."""

    def __init__(self, count: int) -> None:
        self._idle: SimpleQueue[_Decoder] = SimpleQueue()
        self._all = ExitStack()
        for _ in range(count):
            self._idle.put(_Decoder(self._all))
        self.count = count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()

    def decode(self, contents: Sequence[bytes], seek_face: bool) -> list[Found]:
        """`decode` of several small files; waits where all processes are busy."""
        decoder = self._idle.get()
        try:
            found = decoder.ask(contents, seek_face)
        finally:
            self._idle.put(decoder)
        return [decode(content, seek_face) for content in contents] if found is None else found


class _Decoder:
    """One process, or the lack of it."""

    def __init__(self, ending: ExitStack) -> None:
        self._ending = ending
        self._process: subprocess.Popen[bytes] | None = None
        self._lost = False

    def ask(self, contents: Sequence[bytes], seek_face: bool) -> list[Found] | None:
        """What the process found, or None where there is none any more."""
        if self._lost:
            return None
        try:
            process = self._process or self._start()
            assert process.stdin is not None, "a pipe was asked for"
            assert process.stdout is not None, "a pipe was asked for"
            _say((contents, seek_face), process.stdin)
            found: list[Found] = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            self._lost = True
            return None
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        """A process that finds the modules that this one finds, and hears no Ctrl-C."""
        own = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OPENBLAS_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._process = process = subprocess.Popen(_COMMAND, stdin=pipe, stdout=pipe, env=os.environ | own, start_new_session=True)
        self._ending.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(BrokenPipeError), process:  # its input ends, then it does
        pass


def _say(what: object, pipe: IO[bytes]) -> None:
    pickle.dump(what, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def main() -> None:
    """Decode what comes."""
    with suppress(EOFError, BrokenPipeError):  # whoever asked has ended
        while True:
            contents, seek_face = pickle.load(sys.stdin.buffer)
            _say([decode(content, seek_face) for content in contents], sys.stdout.buffer)
    os._exit(0)  # without a word about an answer that nobody waits for


if __name__ == "__main__":
    main()
