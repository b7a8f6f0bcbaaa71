"""Safetensors files with one spelling: equal tensors and metadata give equal bytes, and a large file is written tensor by tensor.

The safetensors package writes the header's metadata in an order that changes from process to process, and needs all tensors at
once; files that are exported, compared and named by their digest can have neither.
Layout: 8 bytes length, JSON header padded to 8 bytes, data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

import torch

_NAMES: Final = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A tensor of a file to write; its data is asked for when its turn comes."""

    name: str
    """Key in the file."""
    shape: tuple[int, ...]
    """Shape in the file."""
    dtype: torch.dtype
    """Type in the file."""
    load: Callable[[], torch.Tensor]
    """Gives the tensor, of exactly this shape and type."""

    @property
    def size(self) -> int:
        """Bytes of the data."""
        count = 1
        for edge in self.shape:
            count *= edge
        return count * self.dtype.itemsize


def entries(tensors: Mapping[str, torch.Tensor]) -> list[Entry]:
    """Entries for tensors that are in memory."""
    return [Entry(name=name, shape=tuple(value.shape), dtype=value.dtype, load=partial(_same, value)) for name, value in tensors.items()]


def _same(value: torch.Tensor) -> torch.Tensor:
    return value


def digest(rows: Iterable[Entry]) -> str:
    """SHA-256 of the data part of a file, in hex: what modelspec calls `hash_sha256` and A1111 the model hash."""
    state = hashlib.sha256()
    for part in _data(_ordered(rows)):
        state.update(part)
    return state.hexdigest()


def write(path: Path, rows: Iterable[Entry], metadata: Mapping[str, str]) -> str:
    """Write a file, one tensor in memory at a time; gives the SHA-256 of its data part."""
    ordered = _ordered(rows)
    state = hashlib.sha256()
    with open(path, "wb") as file:
        file.write(_header(ordered, metadata))
        for part in _data(ordered):
            state.update(part)
            file.write(part)
    return state.hexdigest()


def to_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """The file of tensors that are in memory."""
    ordered = _ordered(entries(tensors))
    return b"".join([_header(ordered, metadata), *_data(ordered)])


def from_bytes(data: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file in memory."""
    from safetensors.torch import load

    return cast(dict[str, torch.Tensor], load(data))


def read_metadata(path: Path) -> dict[str, str]:
    """The `__metadata__` of a file's header."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return cast(dict[str, str], header.get("__metadata__", {}))


def _ordered(rows: Iterable[Entry]) -> list[Entry]:
    return sorted(rows, key=lambda row: (-row.dtype.itemsize, row.name))  # wide types first, so that each tensor is aligned


def _header(ordered: list[Entry], metadata: Mapping[str, str]) -> bytes:
    document: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for row in ordered:
        document[row.name] = {"dtype": _NAMES[row.dtype], "shape": list(row.shape), "data_offsets": [offset, offset + row.size]}
        offset += row.size
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _data(ordered: list[Entry]) -> Iterator[memoryview]:
    for row in ordered:
        value = row.load()
        assert (tuple(value.shape), value.dtype) == (row.shape, row.dtype), f"{row.name}: {tuple(value.shape)} {value.dtype}"
        flat = value.detach().to("cpu").contiguous().reshape(-1)
        yield memoryview(flat.view(torch.uint8).numpy() if flat.numel() else b"")
