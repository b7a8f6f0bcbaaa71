"""Saved states: which stay, whatever interrupted the training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetuner.artifacts.checkpoint import Rotation


@pytest.mark.parametrize(
    ("steps", "gone"),
    [
        ([], []),
        ([2], []),
        ([2, 4], []),
        ([2, 4, 6], [2]),
        ([2, 4, 5], []),  # interrupted after 5: to go on from, beside the two that are asked for
        ([2, 4, 5, 6], [2, 5]),
        ([3, 5], [3]),
        ([4, 6, 7], [4]),  # 7 is the last
        ([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5]),
    ],
)
def test_the_planned_states_and_the_newest_stay(steps: list[int], gone: list[int]) -> None:
    assert Rotation(every=2, last=7, keep=2).superseded(steps) == gone


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 30), st.sets(st.integers(1, 30)))
def test_interruptions_do_not_change_what_is_kept_in_the_end(every: int, keep: int, last: int, interrupted: set[int]) -> None:
    rotation = Rotation(every=every, last=last, keep=keep)

    def kept(extra: set[int]) -> list[int]:
        states: list[int] = []
        for step in range(1, last + 1):
            if step % every == 0 or step == last or step in extra:
                states.append(step)
                states = [one for one in states if one not in rotation.superseded(states)]
        return states

    assert kept(interrupted) == kept(set())
