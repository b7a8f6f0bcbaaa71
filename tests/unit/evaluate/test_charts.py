"""Charts: round labels within the range, lines within the frame."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetuner.evaluate.core.charts import Series, line_chart, nice_ticks, smooth


@pytest.mark.parametrize(
    ("low", "high", "ticks"), [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (0, 1.1e-4, [0, 5e-5, 1e-4]), (98, 102, [98, 99, 100, 101, 102])]
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high, 4) == ticks


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e3))
def test_ticks_lie_in_the_range(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width, 5)
    assert 1 <= len(ticks) <= 11
    assert all(low - 1e-6 * width - 1e-6 <= tick <= low + width * 1.000001 + 1e-6 for tick in ticks)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_lines_stay_in_the_frame(values: list[float]) -> None:
    chart = line_chart("t", "step", list(range(1, len(values) + 1)), [Series(name="loss", kind="tuned", values=values)])
    numbers = [float(number) for number in re.findall(r"[\d.-]+", chart.paths[0][1])]
    assert all(0 <= number <= 1000 for number in numbers)
    assert len(chart.data["lines"][0]["text"]) == len(values)


def test_smoothing_keeps_length_and_level() -> None:
    assert smooth([1.0, 1.0, 1.0], 3) == [1.0, 1.0, 1.0]
    assert smooth([0.0, 3.0, 0.0, 3.0], 3) == [1.5, 1.0, 2.0, 1.5]
