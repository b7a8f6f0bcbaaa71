"""Draws are functions of their names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetuner import draws


def test_equal_names_give_equal_numbers() -> None:
    assert np.array_equal(draws.generator(1, "noise", 3).random(8), draws.generator(1, "noise", 3).random(8))


@pytest.mark.parametrize(
    "other", [(2, "noise", 3, 4), (1, "crop", 3, 4), (1, "noise", 4, 3), (1, "noise", 34), (1, "noise", "3", 4), (1, "noise", 3, 4, 0)]
)
def test_another_name_gives_other_numbers(other: tuple) -> None:
    assert draws.key(*other) != draws.key(1, "noise", 3, 4)


def test_numbers_stay_the_same_over_versions() -> None:
    """A change of these figures is a change of every run: resumes and caches of older versions would break."""
    assert draws.key(42, "noise", 7, "a") == 328107287948258984350553236089739074846
    assert draws.generator(42, "noise", 7).integers(0, 1000, 5).tolist() == [286, 651, 971, 287, 47]
    assert draws.permute_many(np.arange(6), 6, 42, "order").tolist() == [5, 0, 3, 4, 1, 2]


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**31))
def test_a_permutation_hits_every_place_once(size: int, seed: int) -> None:
    assert sorted(draws.permute_many(np.arange(size), size, seed, "order").tolist()) == list(range(size))


def test_a_permutation_moves_places_about() -> None:
    places = draws.permute_many(np.arange(10_000), 10_000, 1, "order")
    assert abs(np.corrcoef(places, np.arange(10_000))[0, 1]) < 0.05
    assert (places == np.arange(10_000)).sum() < 10


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**31), data=st.data())
def test_a_permutation_is_the_same_one_by_one(size: int, seed: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert draws.permute(index, size, seed, "order", 3) == draws.permute_many(np.array([index]), size, seed, "order", 3)[0]
