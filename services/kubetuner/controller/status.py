"""A run's status in the making: rows, conditions, phase and the texts that `kubectl get` prints.

A Draft begins with the status as it is; what decide tells it changes it, and an unchanged Draft writes nothing. Texts are cut so that the
whole stays below 8 KiB: histories belong in the store.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from kubetuner.controller.api import Json
from kubetuner.flow import STAGES

LARGEST: Final = 8 * 1024
FINISHED: Final = frozenset({"Succeeded", "Failed", "Cancelled"})
READY: Final = {"ingest": "DatasetReady", "embed": "CacheReady", "train": "Trained", "evaluate": "Evaluated"}
_ORDER: Final = (
    "Accepted", "StoreReachable", "QuotaReserved", *READY.values(), "Suspended", "Failed", "Succeeded",
)  # fmt: skip
_TEXT: Final = 600
_FIGURES: Final = 12
_WORD: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something to tell: an Event of Kubernetes, and the run's newest reason and message."""

    reason: str
    message: str
    warning: bool = False
    stage: str = ""


@dataclass(slots=True)
class Draft:
    """A status that may change."""

    old: Json
    generation: int
    now: datetime
    status: Json = field(init=False)
    happenings: list[Happening] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status = copy.deepcopy(self.old)

    def tell(self, reason: str, message: str, *, warning: bool = False, stage: str = "") -> None:
        """Something happened; the last thing told is the run's reason and message."""
        reason = cut(reason, _WORD)
        self.happenings.append(Happening(reason=reason, message=cut(message), warning=warning, stage=stage))
        self.status["reason"], self.status["message"] = reason, cut(message)

    def row(self, stage: str) -> Json:
        """The stage's row; made where there is none."""
        rows: list[Json] = self.status.setdefault("stages", [])
        found = next((row for row in rows if row["stage"] == stage), None)
        if found is None:
            found = {"stage": stage, "phase": "Pending"}
            rows.append(found)
        return found

    def find_row(self, stage: str) -> Json:
        """The stage's row; empty where it has not begun."""
        return next((row for row in self.status.get("stages") or () if row["stage"] == stage), {})

    def set_row(self, stage: str, phase: str, reason: str, message: str) -> bool:
        """Change how the stage stands; False where it stood so."""
        row = self.row(stage)
        new = {"phase": phase, "reason": cut(reason, _WORD), "message": cut(message)}
        if all(row.get(key) == value for key, value in new.items()):
            return False
        row.update(new)
        return True

    def condition(self, kind: str, status: str, reason: str, message: str = "") -> None:
        """Set a condition; its time moves only with its status."""
        conditions: list[Json] = self.status.setdefault("conditions", [])
        found = next((one for one in conditions if one["type"] == kind), None)
        if found is None:
            found = {"type": kind}
            conditions.append(found)
            conditions.sort(key=lambda one: _ORDER.index(one["type"]) if one["type"] in _ORDER else len(_ORDER))
        if found.get("status") != status:
            found["lastTransitionTime"] = stamp(self.now)
        found |= {"status": status, "reason": cut(reason, _WORD), "message": cut(message), "observedGeneration": self.generation}

    def drop(self, kind: str) -> None:
        """Take a condition back that says nothing any more."""
        self.status["conditions"] = [one for one in self.status.get("conditions") or [] if one["type"] != kind]

    def holds(self, kind: str) -> bool:
        """Whether a condition is True."""
        return any(one["type"] == kind and one.get("status") == "True" for one in self.status.get("conditions") or ())

    def progress(self, stage: str, found: Json) -> None:
        """How far the stage is, with texts for people."""
        figures = dict(list((found.get("figures") or {}).items())[:_FIGURES])
        done, total = int(found.get("done", 0)), int(found.get("total", 0))
        kept: Json = {"stage": stage, "unit": cut(str(found.get("unit", "")), 40), "done": done, "total": total}
        if found.get("rate"):
            kept["rate"] = round(float(found["rate"]), 4)
        if figures:
            kept["figures"] = {name: value for name, value in figures.items() if isinstance(value, int | float | str | bool)}
        kept["step"] = f"{done}/{total}" if total else str(done)
        if seconds := float(found.get("remainingSeconds") or 0):
            kept["remainingSeconds"] = round(seconds, 1)
            kept["eta"] = duration(seconds)
        self.status["progress"] = kept

    def leave_progress(self, stage: str) -> None:
        """Another stage begins: what an earlier one told says nothing of it."""
        if (self.status.get("progress") or {}).get("stage") not in (None, stage):
            del self.status["progress"]

    def finish(self, phase: str, reason: str, message: str) -> None:
        """The run has ended; this stays so."""
        self.status["phase"] = phase
        self.status["completionTime"] = stamp(self.now)
        done = phase == "Succeeded"
        self.condition("Succeeded", "True" if done else "False", reason, message)
        if not done:
            self.condition("Failed", "True" if phase == "Failed" else "False", reason, message)
        if progress := self.status.get("progress"):
            progress.pop("eta", None)
            progress.pop("remainingSeconds", None)
        self.tell(reason, message, warning=phase == "Failed")

    def settle(self) -> Json | None:
        """The status to write, with its new number; None where nothing changed."""
        self.status["observedGeneration"] = self.generation
        if self.status == self.old:
            return None
        self.status["sequence"] = int(self.old.get("sequence", 0)) + 1
        return fitted(self.status)


def fitted(status: Json) -> Json:
    """The status with its texts cut until it is small enough."""
    longest = _TEXT
    while len(json.dumps(status, ensure_ascii=False).encode()) > LARGEST and longest > 30:
        longest //= 2
        for one in [status, *(status.get("conditions") or []), *(status.get("stages") or [])]:
            if "message" in one:
                one["message"] = cut(one["message"], longest)
    return status


def difference(old: Json, new: Json) -> Json:
    """A merge patch that makes the old object the new one; lists are written whole."""
    found: Json = {key: None for key in old if key not in new}
    for key, value in new.items():
        held = old.get(key)
        if isinstance(value, dict) and isinstance(held, dict):
            if below := difference(held, value):
                found[key] = below
        elif held != value:
            found[key] = value
    return found


def stamp(moment: datetime) -> str:
    """A time as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: float) -> str:
    """A length of time for people, as 3m20s or 1h5m."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours >= 48:
        return f"{hours // 24}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def cut(text: str, longest: int = _TEXT) -> str:
    """A text that is not too long."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def nouns() -> dict[str, str]:
    """What each stage gives."""
    return {stage.name: stage.gives for stage in STAGES}
