"""Checkpoints: the saved states of a training, and the finished training itself.

    checkpoint/<training>-<step>/    a state to resume from: weights, optimizer, average, schedule, history
    checkpoint/<training>/           the finished training: which states were kept, how the loss went

A state is there whole or not at all, because its index is written last. `training` is the fingerprint of all that decides the weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, Json
from kubetuner.storage import Content, ObjectStore

NOUN: Final = "checkpoint"
_STEP: Final = re.compile(rf"^{NOUN}/([0-9a-f]+)-(\d{{9}})/index\.json$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A whole saved state."""

    step: int
    """Optimizer steps done."""
    ref: ArtifactRef
    index: Json


def reference(training: str, step: int) -> ArtifactRef:
    """Name of the state after a step."""
    return ArtifactRef(noun=NOUN, fingerprint=f"{training}-{step:09d}")


def save(store: ObjectStore, training: str, step: int, state: Json, files: Mapping[str, Content]) -> ArtifactRef:
    """Write a state; `state` is kept in its index, `files` beside it."""
    return objects.commit(store, reference(training, step), {"step": step, "state": state}, files)


def saved(store: ObjectStore, training: str) -> list[Saved]:
    """All whole states of a training, oldest first."""
    found = []
    for info in store.list(f"{NOUN}/{training}-"):
        if match := _STEP.match(info.key):
            ref = reference(training, int(match[2]))
            if (index := objects.find(store, ref)) is not None:  # a run beside us may just have deleted it
                found.append(Saved(step=int(match[2]), ref=ref, index=index))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Which states of a training stay: what an undisturbed training would keep at this step, and the newest, to go on from."""

    every: int
    """States after every so many steps are kept; others are written only where a training is interrupted."""
    last: int
    """The training's last step, whose state is kept too."""
    keep: int
    """How many."""

    def superseded(self, steps: Sequence[int]) -> list[int]:
        """Those of the ascending steps whose states go."""
        planned = [step for step in steps if step % self.every == 0 or step == self.last]
        return [step for step in steps[:-1] if step not in planned[-self.keep :]]


def rotate(store: ObjectStore, training: str, rotation: Rotation) -> None:
    """Delete the states that are superseded."""
    states = {state.step: state for state in saved(store, training)}
    for step in rotation.superseded(sorted(states)):
        objects.drop(store, states[step].ref, states[step].index)


def finish(store: ObjectStore, training: str, index: Json, history: list[dict[str, Any]]) -> ArtifactRef:
    """Name the kept states and close the training."""
    ref = ArtifactRef(noun=NOUN, fingerprint=training)
    return objects.commit(store, ref, index, {"history.json": objects.canonical(history)})


def find(store: ObjectStore, ref: ArtifactRef) -> tuple[Json | None, list[ArtifactRef]]:
    """The index of a finished training, or None where it is not finished, and those of its kept states that have gone from the store."""
    index = objects.find(store, ref)
    rows = [] if index is None else index["steps"]
    return index, objects.gone(store, [ArtifactRef(noun=NOUN, fingerprint=row["fingerprint"]) for row in rows])


def history(store: ObjectStore, ref: ArtifactRef, index: Json) -> list[dict[str, Any]]:
    """Loss, learning rate and gradient norm of each step of a finished training."""
    rows = json.loads(objects.read(store, ref, index, "history.json"))
    assert isinstance(rows, list)
    return rows
