"""The first lines of the page say what the scores say."""

from __future__ import annotations

from typing import Any

import pytest

from kubetuner.evaluate.core import document
from kubetuner.evaluate.core.verdict import percent, verdict


def models(*rows: tuple[int | None, float | None, float]) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "heldOut": None if held_out is None else {"mean": held_out, "images": 4},
            "training": {"mean": training, "images": 4},
            "improved": 3,
        }
        for step, held_out, training in rows
    ]


def evaluation(*rows: tuple[int | None, float | None, float]) -> dict[str, Any]:
    return {"models": models(*rows), **document.rank(models(*rows))}


@pytest.mark.parametrize(
    ("after", "tone", "change"),
    [(0.09, "better", "−10.0 %"), (0.1, "same", "±0.0 %"), (0.1004, "same", "+0.4 %"), (0.15, "worse", "+50.0 %")],
)
def test_sign_and_words_follow_the_loss(after: float, tone: str, change: str) -> None:
    found = verdict(evaluation((None, 0.1, 0.1), (10, after, after)))
    assert (found.tone, found.change, found.before) == (tone, change, "0.1000")


def test_training_pictures_rank_where_none_is_held_out() -> None:
    found = verdict(evaluation((None, None, 0.2), (10, None, 0.1)))
    assert found.measure == "Loss on training pictures"
    assert any("No picture is held out" in note for note in found.notes)


def test_a_gap_between_training_and_held_out_is_said() -> None:
    notes = verdict(evaluation((None, 0.2, 0.2), (10, 0.19, 0.1))).notes
    assert any("gain 45 % more" in note for note in notes)


def test_a_better_earlier_step_is_named() -> None:
    found = evaluation((None, 0.2, 0.2), (500, 0.1, 0.1), (1000, 0.11, 0.09))
    assert (found["best"], found["ranking"]) == (500, [500, 1000])
    assert any("last step, 1,000; its loss is +10.0 % against step 500" in note for note in verdict(found).notes)


def test_nothing_measured_is_no_verdict() -> None:
    rows = [{"step": None, "heldOut": None, "training": None, "improved": 0}]
    assert verdict({"models": rows, **document.rank(rows)}).tone == "none"


@pytest.mark.parametrize(("change", "text"), [(-0.101, "−10.1 %"), (0.5, "+50.0 %"), (-0.0001, "±0.0 %")])
def test_percent_is_signed(change: float, text: str) -> None:
    assert percent(change) == text
