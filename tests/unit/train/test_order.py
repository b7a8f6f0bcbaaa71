"""The order of batches: every picture as often as it should be, whatever the number of devices."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetuner.train.core.order import Collection, Order, Sample


def collection(*sizes: int, name: str = "a", repeats: int = 0, probability: float = 1.0, first: int = 0) -> Collection:
    bounds = np.cumsum([first, *sizes])
    groups = tuple(np.arange(start, stop) for start, stop in itertools.pairwise(bounds))
    return Collection(id=name, groups=groups, repeats=repeats, probability=probability)


def order(*collections: Collection, batch_size: int = 4, remainder: str = "keep", seed: int = 1) -> Order:
    return Order(collections, seed=seed, batch_size=batch_size, remainder=remainder)


def epoch(found: Order, number: int = 0) -> list[list[Sample]]:
    return [found.batch(number, batch) for batch in range(found.batches_per_epoch)]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=3),
    repeats=st.integers(0, 3),
    batch_size=st.integers(1, 7),
    seed=st.integers(0, 1000),
)
def test_an_epoch_shows_every_picture_as_often_as_asked(sizes: list[list[int]], repeats: int, batch_size: int, seed: int) -> None:
    collections, first = [], 0
    for number, groups in enumerate(sizes):
        collections.append(collection(*groups, name=str(number), repeats=repeats, first=first))
        first += sum(groups)
    batches = epoch(order(*collections, batch_size=batch_size, seed=seed))
    assert Counter(sample.row for batch in batches for sample in batch) == dict.fromkeys(range(first), repeats + 1)


def test_a_batch_is_of_one_size() -> None:
    found = order(collection(10, 7), collection(9, name="b", first=17))
    of_group = {row: group for group, rows in enumerate([range(10), range(10, 17), range(17, 26)]) for row in rows}
    assert all(len({of_group[sample.row] for sample in batch}) == 1 for batch in epoch(found))


@pytest.mark.parametrize(("remainder", "lengths"), [("keep", [4, 4, 2]), ("fill", [4, 4, 4]), ("drop", [4, 4])])
def test_the_remainder_is_dealt_with_as_asked(remainder: str, lengths: list[int]) -> None:
    batches = epoch(order(collection(10), remainder=remainder))
    assert sorted(map(len, batches), reverse=True) == lengths


def test_a_filled_batch_repeats_pictures_with_draws_of_their_own() -> None:
    samples = [sample for batch in epoch(order(collection(3), batch_size=8, remainder="fill")) for sample in batch]
    assert len(samples) == len(set(samples)) == 8


def test_epochs_differ_and_seeds_differ() -> None:
    found = order(collection(40))
    assert epoch(found, 0) != epoch(found, 1)
    assert [[sample.row for sample in batch] for batch in epoch(found, 0)] != [
        [sample.row for sample in batch] for batch in epoch(order(collection(40), seed=2), 0)
    ]


def test_a_step_is_found_without_those_before_it() -> None:
    assert order(collection(40)).step(1007, 3) == order(collection(40)).step(1007, 3)


@pytest.mark.parametrize("accumulation", [1, 2, 3, 7, 50])
def test_steps_are_the_epochs_batches_in_their_order(accumulation: int) -> None:
    found = order(collection(10, 7), collection(9, name="b", first=17))
    steps = found.steps_per_epoch(accumulation)
    assert [batch for step in range(steps) for batch in found.step(step, accumulation)] == epoch(found, 0)
    assert found.step(steps, accumulation)[0] == found.batch(1, 0)


def test_a_more_probable_dataset_comes_earlier() -> None:
    found = order(collection(400, name="a", probability=9.0), collection(400, name="b", first=400), batch_size=1)
    early = [sample.row < 400 for batch in epoch(found)[:100] for sample in batch]
    assert 0.8 < np.mean(early) < 0.98


def test_an_order_is_the_same_when_a_dataset_is_alone_or_renumbered() -> None:
    """Rows name pictures; the choice of batches only depends on counts, seed and the dataset's name."""
    one, other = order(collection(20)), order(collection(20, first=100))
    assert [[s.row for s in batch] for batch in epoch(one)] == [[s.row - 100 for s in batch] for batch in epoch(other)]
