"""What the scores come to, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kubetuner.artifacts.objects import Json

_SAME: Final = 0.005
"""Differences below half a percent are called none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The first lines of the page."""

    tone: str
    """`better`, `same`, `worse` or `none`; gives the colour."""
    measure: str
    """What the figures are."""
    before: str
    after: str
    change: str
    """Signed, in percent."""
    words: str
    notes: list[str]


def verdict(evaluation: Json) -> Verdict:
    """The best checkpoint against the base model, and what a reader should know besides."""
    measured, best = evaluation["rankedBy"], evaluation["best"]
    if measured is None:
        return Verdict(
            tone="none", measure="", before="", after="", change="", words="No picture was measured, so there are no scores.", notes=[]
        )
    before, after = evaluation["baseLoss"], evaluation["bestLoss"]
    change = (after - before) / before if before else 0.0
    tone = "same" if abs(change) < _SAME else "better" if change < 0 else "worse"
    seen = "pictures it has never seen" if measured == "heldOut" else "pictures it was trained on"
    words = {
        "better": f"The training predicts {seen} better than the base model does.",
        "same": f"On {seen} the training makes no difference that counts.",
        "worse": f"On {seen} the training is worse than the base model.",
    }[tone]
    return Verdict(
        tone=tone,
        measure="Held-out loss" if measured == "heldOut" else "Loss on training pictures",
        before=f"{before:.4f}",
        after=f"{after:.4f}",
        change=percent(change),
        words=words,
        notes=_notes(evaluation, measured, best),
    )


def percent(change: float) -> str:
    """Signed, with a true minus and one decimal."""
    if abs(change) < 0.0005:
        return "±0.0 %"
    return f"{'−' if change < 0 else '+'}{abs(change):.1%}".replace("%", " %")


def _notes(evaluation: Json, measured: str, best: int) -> list[str]:
    notes = []
    base, *tuned = evaluation["models"]
    last = tuned[-1]
    row = next(model for model in tuned if model["step"] == best)
    notes.append(f"{row['improved']} of {row[measured]['images']} measured pictures have a lower loss than with the base model.")
    if measured == "training":
        notes.append("No picture is held out (a dataset with datasetType: eval), so nothing here tells learning from memorising.")
    elif (lag := _gain(base, row, "training") - _gain(base, row, "heldOut")) > 0.05:
        notes.append(
            f"Training pictures gain {lag:.0%} more than held-out ones: part of what is learnt is the pictures themselves.".replace(
                "%", " %"
            )
        )
    if last["step"] != best:
        worse = evaluation["finalLoss"] / evaluation["bestLoss"] - 1
        notes.append(
            f"The files hold the last step, {last['step']:,}; its loss is {percent(worse)} against step {best:,}: fewer steps would do."
        )
    return notes


def _gain(base: Json, tuned: Json, measured: str) -> float:
    """Share by which the loss fell; 0 where it is not measured."""
    if base[measured] is None or not base[measured]["mean"]:
        return 0.0
    return float(1 - tuned[measured]["mean"] / base[measured]["mean"])
