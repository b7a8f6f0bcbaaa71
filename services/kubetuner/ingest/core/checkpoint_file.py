"""A single-file checkpoint taken apart: each part's tensors as a file of its own, so that a stage need not fetch the others. No torch.

In: a .safetensors file in the layout of Stability's release. Out: for each part the bytes of a .safetensors file with the same tensors
under the same names, in one order whatever the order was before, and what stands for each tensor in the part's digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Final

from kubetuner.artifacts.objects import Json
from kubetuner.diffusion import layout
from kubetuner.errors import DataError

Row = list[object]
"""What stands for a tensor in its part's digest."""
_CHUNK: Final = 16 * 1024 * 1024
_TYPES: Final = {
    "F64": ("torch.float64", 8),
    "I64": ("torch.int64", 8),
    "F32": ("torch.float32", 4),
    "I32": ("torch.int32", 4),
    "F16": ("torch.float16", 2),
    "BF16": ("torch.bfloat16", 2),
    "I16": ("torch.int16", 2),
    "F8_E4M3": ("torch.float8_e4m3fn", 1),
    "F8_E5M2": ("torch.float8_e5m2", 1),
    "I8": ("torch.int8", 1),
    "U8": ("torch.uint8", 1),
    "BOOL": ("torch.bool", 1),
}
"""safetensors' names of types: torch's, and bytes of an element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a part's file will hold."""

    header: bytes
    tensors: tuple[tuple[str, str, tuple[int, ...], int, int], ...]
    """Name, type, shape, first byte in the checkpoint, bytes; in the order of the part's file."""

    @property
    def size(self) -> int:
        """Bytes of the part's file."""
        return len(self.header) + sum(length for *_, length in self.tensors)


def part_of(file: Path, part: str) -> Part:
    """The tensors of a part. Raises DataError where the checkpoint has none, or is not whole."""
    layout.check_header(file)
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        rows: Mapping[str, Json] = json.loads(opened.read(length))
    names = [name for name in rows if name.startswith(layout.SINGLE_FILE[part])]
    if not names and part == "vae":  # an autoencoder by itself carries no prefix
        names = [name for name in rows if name != "__metadata__"]
    if not names:
        raise DataError(f"{file}: holds no {part} (no tensor begins with {layout.SINGLE_FILE[part]}); give a complete SDXL checkpoint")
    tensors = [_tensor(file, name, rows[name], 8 + length) for name in names]
    ordered = tuple(sorted(tensors, key=lambda row: (-_TYPES[row[1]][1], row[0])))  # wide types first, so that each is aligned
    return Part(header=_header(ordered), tensors=ordered)


def content(file: Path, part: Part) -> Iterator[bytes]:
    """The bytes of the part's file, some at a time."""
    yield part.header
    with open(file, "rb") as opened:
        for *_, start, length in part.tensors:
            yield from _chunks(opened, start, length, file)


def rows(file: Path, part: Part) -> list[Row]:
    """(name, type, shape, SHA-256) of each tensor, by name, as they stand in the part's digest."""
    found: list[Row] = []
    with open(file, "rb") as opened:
        for name, kind, shape, start, length in sorted(part.tensors):
            digest = hashlib.sha256()
            for chunk in _chunks(opened, start, length, file):
                digest.update(chunk)
            found.append([name, _TYPES[kind][0], list(shape), digest.hexdigest()])
    return found


def _tensor(file: Path, name: str, row: Json, data: int) -> tuple[str, str, tuple[int, ...], int, int]:
    try:
        kind, shape, (start, end) = str(row["dtype"]), tuple(map(int, row["shape"])), row["data_offsets"]
        right = kind in _TYPES and end - start == prod(shape) * _TYPES[kind][1]
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{file}: {name} is not described as a tensor; bring the model again") from error
    if not right:
        raise DataError(f"{file}: {name} of type {kind} and shape {list(shape)} is {end - start} bytes long; bring the model again")
    return name, kind, shape, data + start, end - start


def _header(tensors: tuple[tuple[str, str, tuple[int, ...], int, int], ...]) -> bytes:
    document: Json = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, kind, shape, _, length in tensors:
        document[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [place, place + length]}
        place += length
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _chunks(opened: BinaryIO, start: int, length: int, file: Path) -> Iterator[bytes]:
    opened.seek(start)
    while length > 0:
        chunk = opened.read(min(_CHUNK, length))
        if not chunk:
            raise DataError(f"{file}: became shorter while it was read; bring the model again")
        length -= len(chunk)
        yield chunk
