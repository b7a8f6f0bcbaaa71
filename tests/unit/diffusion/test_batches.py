"""Batches, steps and epochs from counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetuner.diffusion import batches


@pytest.mark.parametrize(
    ("pictures", "repeats", "size", "remainder", "expected"),
    [
        (10, 0, 4, "keep", 3),
        (10, 0, 4, "fill", 3),
        (10, 0, 4, "drop", 2),
        (10, 1, 4, "drop", 5),
        (3, 0, 4, "drop", 0),
        (3, 0, 4, "keep", 1),
    ],
)
def test_batches_of_a_group(pictures: int, repeats: int, size: int, remainder: str, expected: int) -> None:
    assert batches.group_batches(pictures, repeats=repeats, batch_size=size, remainder=remainder) == expected


@given(st.integers(1, 1000), st.integers(1, 200))
def test_repeats_to_fill_are_the_least_that_do(pictures: int, size: int) -> None:
    least = batches.repeats_to_fill(pictures, batch_size=size)
    assert batches.fills_batch(pictures, repeats=least, batch_size=size)
    assert least == 0 or not batches.fills_batch(pictures, repeats=least - 1, batch_size=size)


@pytest.mark.parametrize(("total", "accumulation", "steps"), [(10, 1, 10), (10, 4, 3), (0, 4, 0), (1, 4, 1)])
def test_steps_of_an_epoch(total: int, accumulation: int, steps: int) -> None:
    assert batches.steps_per_epoch(total, accumulation=accumulation) == steps


def test_length_by_steps_or_by_epochs() -> None:
    assert batches.total_steps(7, max_steps=100, epochs=None) == 100
    assert batches.total_steps(7, max_steps=None, epochs=3) == 21
    assert batches.total_epochs(100, steps_in_epoch=8) == 12.5
    assert batches.total_epochs(100, steps_in_epoch=0) == 0


@pytest.mark.parametrize(
    ("count", "steps", "words"), [(batches.MAX_BATCHES + 1, 1, "an epoch has"), (1, batches.MAX_STEPS + 1, "the run has")]
)
def test_a_run_that_is_too_long_says_of_what(count: int, steps: int, words: str) -> None:
    trouble = batches.too_long(count, steps)
    assert trouble is not None
    assert trouble[0].startswith(words)
    assert batches.too_long(batches.MAX_BATCHES, batches.MAX_STEPS) is None
