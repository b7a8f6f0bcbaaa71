"""Copies of tensors laid out as a safetensors file: the library's own bytes, in memory that is kept."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from kubetuner.train.core.snapshot import Snapshot

KINDS = [
    torch.int64,
    torch.float64,
    torch.float32,
    torch.int32,
    torch.bfloat16,
    torch.float16,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]
WHOLE = torch.arange(24.0).reshape(4, 6)


def taken(tensors: dict[str, torch.Tensor]) -> bytes:
    snapshot = Snapshot(tensors)
    snapshot.take(tensors)
    return bytes(snapshot.data)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {f"{number % 3}.{number}": (WHOLE[number % 4, : number + 1] > 5).to(kind) for number, kind in enumerate(KINDS * 2)},
        {"b": torch.tensor(1.5), "a": torch.zeros(0, 3), "odd": torch.ones(3, dtype=torch.bfloat16), "step": torch.tensor(7.0)},
        {"turned": WHOLE.T, "part": WHOLE[1:3, ::2], "weight": torch.nn.Parameter(WHOLE)},
        {'quote"\n': WHOLE, "über": WHOLE, "\x7f": WHOLE, "日": WHOLE, "z" * 300: WHOLE},
    ],
    ids=["none", "every type", "odd sizes", "views and weights", "odd names"],
)
def test_the_bytes_are_those_of_the_library(tensors: dict[str, torch.Tensor]) -> None:
    assert taken(tensors) == save({name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()})


def test_the_library_reads_what_was_taken() -> None:
    tensors = {"a": torch.randn(3, 5), "b": torch.randn(7).bfloat16(), "c": torch.tensor(3)}
    read = load(taken(tensors))
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_what_changes_later_is_not_in_it_until_it_is_taken_again_into_the_same_memory() -> None:
    tensors = {"a": torch.zeros(5), "b": torch.zeros(2)}
    snapshot = Snapshot(tensors)
    snapshot.take(tensors)
    first, data = bytes(snapshot.data), snapshot.data
    tensors["a"].fill_(1)
    assert data == first
    snapshot.take(tensors)
    assert data == snapshot.data == save(tensors)


@pytest.mark.parametrize(
    "other",
    [{"a": torch.zeros(2, 3)}, {"a": torch.zeros(6).half()}, {"b": torch.zeros(6)}, {"a": torch.zeros(6), "b": torch.zeros(1)}, {}],
)
def test_other_tensors_need_other_room(other: dict[str, torch.Tensor]) -> None:
    snapshot = Snapshot({"a": torch.zeros(6)})
    assert snapshot.fits({"a": torch.ones(6)})
    assert not snapshot.fits(other)
