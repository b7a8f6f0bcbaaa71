"""A safetensors file laid out in memory: tensors are copied straight to their places in it, and it is stored as it lies there.

The format: eight bytes that say how long the header is, the header (JSON: type, shape and place of each tensor), the tensors' own bytes.
https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import torch

Tensors = Mapping[str, torch.Tensor]
_KINDS: Final = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Names of types, in the order in which the library lays tensors out: the widest first, so that each lies at a multiple of its width."""


class Snapshot:
    """Copies of tensors, taken again and again into the same memory: new pages cost a training more than the copy itself."""

    def __init__(self, tensors: Tensors) -> None:
        """Room for tensors of these names, types and shapes."""
        self._layout = _layout(tensors)
        header = _header(tensors)
        self._whole = torch.empty(len(header) + sum(tensor.nbytes for tensor in tensors.values()), dtype=torch.uint8)
        self._whole[: len(header)] = torch.frombuffer(bytearray(header), dtype=torch.uint8)
        self._places: dict[str, torch.Tensor] = {}
        begin = len(header)
        for name in _ordered(tensors):
            tensor = tensors[name]
            self._places[name] = self._whole[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            begin += tensor.nbytes

    def fits(self, tensors: Tensors) -> bool:
        """Whether this is room for them."""
        return self._layout == _layout(tensors)

    def take(self, tensors: Tensors) -> None:
        """Copy the tensors as they are now, from whatever device."""
        if self._places:  # torch's loop over none is an error
            torch._foreach_copy_(list(self._places.values()), [tensors[name].detach() for name in self._places])

    @property
    def data(self) -> memoryview:
        """The file's bytes, which the next `take` changes."""
        return memoryview(self._whole.numpy())


def _layout(tensors: Tensors) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


def _ordered(tensors: Tensors) -> list[str]:
    """Names in the order in which the tensors lie."""
    kinds = list(_KINDS)
    return sorted(tensors, key=lambda name: (kinds.index(tensors[name].dtype), name.encode()))


def _header(tensors: Tensors) -> bytes:
    """The header with its length before it; spaces make it a multiple of eight bytes."""
    rows = {}
    begin = 0
    for name in _ordered(tensors):
        tensor = tensors[name]
        rows[name] = {"dtype": _KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, begin + tensor.nbytes]}
        begin += tensor.nbytes
    text = json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
