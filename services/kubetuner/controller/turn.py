"""A decision in the making: what may be done, what is seen, what the status becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from kubetuner.controller.api import Json
from kubetuner.controller.observe import Job, Observation
from kubetuner.controller.status import Draft, Happening
from kubetuner.flow import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Make the Job of a stage's attempt (and its headless Service), unless it is there."""

    stage: str
    attempt: int
    source: tuple[str, str] | None
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a Job; its pods are asked to save their state and end first."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Find:
    """Ask the API server itself for a Job that the caches do not have."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """Ask the store whether a stage's artifact is there already."""

    stage: str
    source: tuple[str, str] | None
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadJob:
    """Ask the store what became of an attempt whose pods are gone."""

    stage: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEvents:
    """Ask the API server what keeps a pod from starting."""

    pod_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRun:
    """The run's time after its end is over."""


Action = Create | Delete | Find | LookUp | ReadJob | ReadEvents | DeleteRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now, in this order: `first`, the status, `then`, the happenings. And when to look again though nothing changes."""

    first: tuple[Action, ...] = ()
    status: Json | None = None
    """The status to write; None where it stays."""
    then: tuple[Action, ...] = ()
    happenings: tuple[Happening, ...] = ()
    again: float | None = None
    """Seconds until a look is due; None waits for a change."""


@dataclass(slots=True, kw_only=True)
class Turn:
    """One decision in the making."""

    seen: Observation
    now: datetime
    draft: Draft
    first: list[Action] = field(default_factory=list)
    then: list[Action] = field(default_factory=list)
    again: float | None = None

    def look_again(self, seconds: float) -> None:
        self.again = max(0.0, seconds if self.again is None else min(self.again, seconds))

    @property
    def live(self) -> list[Job]:
        """Jobs that have not ended, and those that are still being deleted."""
        return [job for job in self.seen.jobs if job.deleting or not job.finished]


def delete(turn: Turn, jobs: list[Job]) -> None:
    """Delete those of the Jobs that are neither ended nor on their way out."""
    turn.then.extend(Delete(name=job.name, uid=job.uid) for job in jobs if not job.deleting and not job.finished)


def count_gpus(turn: Turn, job: Job, until: datetime) -> None:
    """Add what the Job held; told once, when its row leaves the state in which it runs."""
    if job.gpus and job.started is not None:
        held = job.gpus * max(0.0, (until - job.started).total_seconds())
        turn.draft.status["gpuSeconds"] = round(float(turn.draft.status.get("gpuSeconds", 0)) + held, 1)


def store_away(turn: Turn, problem: str) -> None:
    """The object store does not answer: this is no failure of the run. Whoever asked it asks again."""
    draft = turn.draft
    if not any(one["type"] == "StoreReachable" and one["status"] == "False" for one in draft.status.get("conditions") or ()):
        draft.tell("StoreUnreachable", f"the object store does not answer: {problem}", warning=True)
    draft.condition("StoreReachable", "False", "Unreachable", problem)


def store_back(turn: Turn) -> None:
    """The object store answers (again)."""
    if any(one["type"] == "StoreReachable" for one in turn.draft.status.get("conditions") or ()):
        turn.draft.condition("StoreReachable", "True", "Reachable", "")


def title(stage: Stage) -> str:
    """The stage as the beginning of a CamelCase word."""
    return stage.name.capitalize()


def camel(reason: str) -> str:
    """A reason of a condition: upper-case words become one CamelCase word."""
    return "".join(part.capitalize() for part in reason.split("_")) if "_" in reason or reason.isupper() else reason
