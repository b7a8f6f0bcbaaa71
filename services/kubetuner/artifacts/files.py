"""A file by its content: what models, datasets and uploads are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a folder."""

    path: str
    """Below the folder, with `/`."""
    size: int
    """Bytes."""
    sha256: str
    """Of its bytes, in hex."""
