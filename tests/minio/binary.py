"""The MinIO server that the tests start: built once from go.mod and go.sum beside this file, and cached outside the checkout.

python -m tests.minio.binary    build it where it is not cached yet; prints its path (three minutes of one core)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests import golang

_HERE: Final = Path(__file__).parent
_PACKAGE: Final = "github.com/minio/minio"


def cached() -> Path:
    """Where the binary is, or would be."""
    return golang.cache_folder("minio", [_HERE / "go.mod", _HERE / "go.sum"], "static") / "minio"


def at_hand() -> bool:
    """Whether the tests can have it without a download of Go."""
    return cached().exists() or golang.at_hand()


def get() -> Path:
    """The binary, built now where it is not cached."""
    return golang.build(cached(), _PACKAGE, module=_HERE)


if __name__ == "__main__":
    print(get())
