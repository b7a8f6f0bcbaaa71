"""Randomness as a function: every random draw is named by (seed, what it is for, which sample), never by time, rank or worker.

A killed and resumed run, and a run on another number of devices, so see the same crops, captions, noise and timesteps.
The generator is Philox (Salmon et al. 2011), keyed by a hash of the name. No torch, so that ingest can use it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

import numpy as np

_SEPARATOR: Final = "\x1f"
_WORD: Final = 2**64 - 1


def key(seed: int, purpose: str, *names: int | str) -> int:
    """128-bit number that names one draw."""
    text = _SEPARATOR.join([str(seed), purpose, *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest(), "little")


def generator(seed: int, purpose: str, *names: int | str) -> np.random.Generator:
    """A fresh generator for one named draw; equal names give equal numbers."""
    return np.random.Generator(np.random.Philox(key=key(seed, purpose, *names)))


def permute(index: int, size: int, seed: int, *names: int | str) -> int:
    """Where a keyed permutation of range(size) sends `index`: constant memory, no list of the whole order.

    A balanced Feistel network over the next even power of two, walked until it lands inside (Black and Rogaway 2002).
    """
    assert 0 <= index < size
    half = _half(size)
    mask = (1 << half) - 1
    rounds = _rounds(seed, *names)
    while True:
        left, right = index >> half, index & mask
        for salt in rounds:
            left, right = right, left ^ (_mix_one((right + salt) & _WORD) & mask)
        index = (left << half) | right
        if index < size:
            return index


def permute_many(index: np.ndarray, size: int, seed: int, *names: int | str) -> np.ndarray:
    """`permute` for an array of indices."""
    assert size > 0
    half = _half(size)
    mask, shift = np.uint64((1 << half) - 1), np.uint64(half)
    rounds = np.array(_rounds(seed, *names), np.uint64)
    value = index.astype(np.uint64)
    pending = np.ones(value.shape, dtype=bool)
    while pending.any():
        left, right = value[pending] >> shift, value[pending] & mask
        for salt in rounds:
            left, right = right, left ^ (_mix(right + salt) & mask)
        value[pending] = (left << shift) | right
        pending = value >= np.uint64(size)
    return value.astype(np.int64)


def _half(size: int) -> int:
    """Bits of each half of the Feistel network over range(size)."""
    return max(1, ((size - 1).bit_length() + 1) // 2)


@lru_cache(maxsize=256, typed=True)  # a permutation is asked for index by index, and its rounds cost more than all else of it
def _rounds(seed: int, *names: int | str) -> tuple[int, ...]:
    return tuple(generator(seed, "permutation", *names).integers(0, 2**64, size=6, dtype=np.uint64).tolist())


def _mix_one(value: int) -> int:
    """`_mix` of one number."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _WORD
    return value ^ (value >> 31)


def _mix(value: np.ndarray) -> np.ndarray:
    """Finaliser of splitmix64 (Steele et al. 2014): spreads every bit over all others."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
