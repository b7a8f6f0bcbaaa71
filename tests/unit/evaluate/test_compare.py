"""What stands beside each other on the page, and the measures in words."""

from __future__ import annotations

from typing import Any

import pytest

from kubetuner.evaluate.core import compare, shown

SHOT: dict[str, Any] = {"prompt": "a crab", "width": 64, "height": 64, "seed": 7, "base": "b.png", "tuned": "t.png"}
HALF = {"strengths": [{"scale": 0.5, "image": "h.png"}]}


@pytest.mark.parametrize(
    ("shot", "labels"),
    [
        (SHOT, ["base", "tuned"]),
        (SHOT | {"true": "x.png"}, ["base", "tuned", "true"]),
        (SHOT | HALF | {"true": "x.png"}, ["base", "LoRA × 0.5", "LoRA × 1", "true"]),
        (
            SHOT | {"strengths": [{"scale": scale, "image": "h.png"} for scale in (-1, 1.5)]},
            ["LoRA × -1", "base", "LoRA × 1", "LoRA × 1.5"],
        ),
    ],
)
def test_a_row_goes_from_weak_to_strong_to_true(shot: dict[str, Any], labels: list[str]) -> None:
    assert [cell.label for cell in compare.cells(shot, full=False)] == labels


@pytest.mark.parametrize(("shots", "stops"), [([SHOT], []), ([], []), ([SHOT | HALF], [0.0, 0.5, 1.0])])
def test_the_slider_has_a_stop_for_each_strength(shots: list[dict[str, Any]], stops: list[float]) -> None:
    assert compare.strengths(shots) == stops


def measured(base: tuple[float, float, float], tuned: tuple[float, float, float]) -> dict[str, Any]:
    rows = [dict(zip(("scale", "colourless", "rank", "first"), (scale, *row), strict=True)) for scale, row in ((0, base), (1, tuned))]
    return {"images": 40, "pictures": 40, "colourlessBelow": 10.0, "true": {"colourless": 1.0}, "drawn": rows}


def test_measures_are_told_with_what_to_compare_them_with() -> None:
    found = compare.figures(measured((0.5, 13.5, 0.125), (0.975, 5.8, 0.5)))
    assert found is not None
    assert [(one.before, one.after, one.beside, one.better) for one in found.headlines] == [
        ("50 %", "98 %", "the true pictures: 100 %", True),
        ("12 %", "50 %", "by chance: 2 %", True),
        ("13.5", "5.8", "of 40; by chance: 20.5", True),
    ]
    assert [row[0] for row in found.rows] == ["Base model", "Tuned model", "True pictures"]


def test_a_change_for_the_worse_is_not_called_better() -> None:
    found = compare.figures(measured((0.9, 5.0, 0.5), (0.5, 9.0, 0.5)))
    assert found is not None
    assert [one.better for one in found.headlines] == [False, False, False]


@pytest.mark.parametrize(("count", "total", "expected"), [(0, 9, []), (3, 9, [1, 4, 7]), (2, 3, [0, 2]), (5, 3, [0, 1, 2]), (4, 0, [])])
def test_pictures_are_spread_evenly(count: int, total: int, expected: list[int]) -> None:
    assert shown.spread(count, total) == expected
