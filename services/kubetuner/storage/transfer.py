"""Large objects on their way into files: by ranges read side by side, in order, with their SHA-256 taken on the way.

What a killed process left of a file is gone on from; two processes that want the same file wait for each other.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kubetuner.errors import KubeTunerError
from kubetuner.storage.store import ObjectStore

PART: Final = 16 * 1024 * 1024
"""Bytes of one range."""
AT_ONCE: Final = 8
"""Ranges on their way at once; with PART this is what a transfer takes of memory."""
Read = Callable[[int, int], bytes]
"""Gives `length` bytes from `start` of an object."""
Moved = Callable[[int], None]
"""Told how many bytes came; may raise to stop."""


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where files that were fetched are kept: $KUBETUNER_CACHE, else the user's cache folder, else a temporary one."""
    if given := environment.get("KUBETUNER_CACHE"):
        return Path(given)
    try:
        home = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubetuner"
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK | os.X_OK):
            return home
    except (OSError, RuntimeError):  # a pod's root may be read-only, and its user have no home
        pass
    return Path(tempfile.gettempdir()) / f"kubetuner-{os.getuid()}"


def ignore(_: int) -> None:
    """Hears of bytes and does nothing."""


def of(store: ObjectStore, key: str) -> Read:
    """Reads an object of a store by ranges."""
    return lambda start, length: store.get(key, start, length)


def ranges(read: Read, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to `end` in order, some ranges ahead."""
    ahead: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="range") as threads:
        try:
            for place in range(start, end, PART):
                ahead.append(threads.submit(read, place, min(PART, end - place)))
                if len(ahead) == AT_ONCE:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def sha256(read: Read, size: int, moved: Moved = ignore) -> str:
    """Hex digest of an object, which is never whole in memory."""
    digest = hashlib.sha256()
    for part in ranges(read, 0, size):
        digest.update(part)
        moved(len(part))
    return digest.hexdigest()


def into_file(read: Read, size: int, target: Path, moved: Moved = ignore) -> str:
    """Bring an object of `size` bytes into a file, behind what an earlier try left there; gives the SHA-256 of the whole."""
    digest = hashlib.sha256()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "ab+") as file:
            there = file.tell()
            if there > size:
                file.truncate(0)
                there = 0
            file.seek(0)
            while part := file.read(PART):
                digest.update(part)
            moved(there)
            for part in ranges(read, there, size):
                file.write(part)
                digest.update(part)
                moved(len(part))
    except OSError as error:
        raise unwritable(target, error) from error
    return digest.hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; where the file system knows no locks all go on, as what they write is put in its place whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab")  # noqa: SIM115 (closed below: the lock ends with it)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise unwritable(path, error) from error
        yield
    finally:
        file.close()


def unwritable(path: Path, error: OSError) -> KubeTunerError:
    """What to do where a cache folder cannot be written."""
    cure = "free space there" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "give the right to write there"
    return KubeTunerError(f"{path}: cannot be written ({error.strerror}); {cure}, or set KUBETUNER_CACHE to another folder, and run again")
