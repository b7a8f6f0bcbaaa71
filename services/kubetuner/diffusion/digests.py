"""SHA-256 of a model's files, each read once: a gigabyte takes about a second, and a run asks at every start.

What a file is known by is its place, size, inode and both of its times to the nanosecond: a changed file is another one. Digests of large
files are remembered in the user's cache folder; where that cannot be written, they are taken again.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

Identity = tuple[int, ...]
_LARGE: Final = 64 * 1024 * 1024


def identity(file: Path) -> Identity:
    """Changes whenever the file does."""
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def sha256(file: Path, *, remembered_from: int = _LARGE) -> str:
    """Hex digest of a file's content; files of at least `remembered_from` bytes are read once for all processes."""
    return _sha256(file, identity(file), remembered_from)


@cache
def _sha256(file: Path, known_by: Identity, remembered_from: int) -> str:
    blob = file.resolve()
    if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name):  # the Hub's cache names large files by their SHA-256
        return blob.name
    if blob.stat().st_size < remembered_from:
        return _read(file)
    place = _memory() / hashlib.sha256(repr((str(blob), known_by)).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        remembered = place.read_text("ascii")
    except (OSError, ValueError):
        remembered = ""
    if re.fullmatch(r"[0-9a-f]{64}", remembered):
        return remembered
    digest = _read(file)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_suffix(f".{os.getpid()}")
        beside.write_text(digest, "ascii")
        beside.replace(place)
    except OSError:  # a pod's root may be read-only: the next process reads the file again, no more
        pass
    return digest


def _read(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _memory() -> Path:
    try:
        cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # the user of a pod may have no home
        cache_home = Path(tempfile.gettempdir())
    return cache_home / "kubetuner" / "digests"
