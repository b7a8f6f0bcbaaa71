"""Objects of the cluster as facts: what `decide` reads, and nothing else.

In: the run, its Jobs and their pods as the caches hold them, and what was learned from the store and the progress feed. Out: a frozen
Observation. Nothing here decides anything, and nothing here asks anybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from kubetuner.controller.api import Json

RUN_LABEL: Final = "kubetuner.dev/run"
STAGE_LABEL: Final = "kubetuner.dev/stage"
ATTEMPT_LABEL: Final = "kubetuner.dev/attempt"
INDEX_LABEL: Final = "batch.kubernetes.io/job-completion-index"
MANAGED_LABEL: Final = "app.kubernetes.io/managed-by"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
GPUS: Final = "kubetuner.dev/gpus"
MANAGER: Final = "kubetuner.dev/controller"
UNREACHABLE: Final = "UNREACHABLE"
"""State of an Outcome that the store could not be asked for; `message` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a stage's pod said at its end, or the store's job.json after it."""

    state: str
    """SUCCEEDED, FAILED, CANCELLED or INTERRUPTED; empty where nothing is known of the job."""
    noun: str = ""
    fingerprint: str = ""
    model: str = ""
    """Fingerprint of the base model in the store; only ingest tells it."""
    images: int = 0
    reason: str = ""
    message: str = ""
    retryable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the store says of a stage that has not begun."""

    fingerprint: str = ""
    """Of the finished artifact; empty where there is none."""
    problem: str = ""
    """Why the store could not be asked; it is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod of a stage."""

    name: str
    uid: str
    phase: str
    index: int
    address: str
    deleting: bool
    disrupted: str
    """Reason of DisruptionTarget, as PreemptionByScheduler; empty where it is none."""
    unschedulable: str
    """The scheduler's words; empty where the pod has a node."""
    scheduled: datetime | None
    """When it got its node."""
    waiting: tuple[str, str]
    """Reason and message of a container that cannot start."""
    exit_code: int | None
    exit_reason: str
    """As OOMKilled or Error."""
    ended: datetime | None
    outcome: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A Job of the run: one attempt of one stage."""

    name: str
    uid: str
    stage: str
    attempt: int
    suspended: bool
    deleting: bool
    complete: bool
    """Whether its work is done: the Job controller says so, or its only pod told its result, which is known some seconds earlier."""
    failed: tuple[str, str] | None
    """Reason and message of the Failed condition."""
    started: datetime | None
    ended: datetime | None
    gpus: int
    pods: tuple[Pod, ...]

    @property
    def finished(self) -> bool:
        """Whether no pod of it can run again."""
        return self.complete or self.failed is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that is known of a run at one moment."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool
    spec: Json
    status: Json
    problem: str
    """What is wrong with the spec; empty where it is right."""
    jobs: tuple[Job, ...]
    looks: Mapping[str, Look] = field(default_factory=dict)
    """By stage."""
    outcomes: Mapping[tuple[str, int], Outcome] = field(default_factory=dict)
    """By stage and attempt: what the store's job.json says."""
    gone: frozenset[str] = frozenset()
    """Names of Jobs that the API server itself says are not there."""
    blocked: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Reason and message by the name of a Job that could not be made."""
    progress: Mapping[str, Json] = field(default_factory=dict)
    """Newest progress by the UID of the Job."""
    warnings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Reason and words of what keeps a pod from starting, by its UID; empty texts where nothing is known of any."""
    retry_seconds: float = 10.0


def observe(run: Json, jobs: Sequence[Json], pods: Sequence[Json], **learned: Any) -> Observation:
    """The facts of a run; `learned` are the fields of Observation that do not come from the API server."""
    meta = run["metadata"]
    by_job: dict[str, list[Pod]] = {}
    for pod in pods:
        by_job.setdefault(_owner(pod), []).append(_pod(pod))
    return Observation(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=int(meta.get("generation", 1)),
        deleting="deletionTimestamp" in meta,
        spec=run.get("spec") or {},
        status=run.get("status") or {},
        jobs=tuple(sorted((_job(job, by_job) for job in jobs), key=lambda job: (job.stage, job.attempt))),
        **learned,
    )


def time_of(text: str | None) -> datetime | None:
    """A Kubernetes timestamp."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def outcome_of(text: str) -> Outcome | None:
    """A termination message or a job.json; None where it is none of ours."""
    try:
        found = json.loads(text)
        state = str(found["state"]).removeprefix("JOB_STATE_")
    except (ValueError, KeyError, TypeError):
        return None
    result, error, work = found.get("result") or {}, found.get("error") or {}, found.get("work") or {}
    return Outcome(
        state=state,
        noun=str(result.get("noun", "")),
        fingerprint=str(result.get("fingerprint", "")),
        model=str((found.get("model") or {}).get("fingerprint", "")),
        images=_whole(work.get("imagesRead", 0)),
        reason=str(error.get("reason", "")),
        message=_words(error),
        retryable=bool(error.get("retryable", False)) if error else True,
    )


def together(outcomes: Iterable[Outcome]) -> Outcome | None:
    """What the pods of one Job told, as one: the last of several parts has the result, the first has the model."""
    found = list(outcomes)
    if not found:
        return None
    main = next((one for one in found if one.fingerprint), found[0])
    model = next((one.model for one in found if one.model), "")
    return replace(main, model=model, images=sum(one.images for one in found))


def _words(error: Json) -> str:
    """The error's message, with the fields that it blames."""
    fields = "; ".join(f"{one.get('field', '')}: {one.get('description', '')}" for one in (error.get("violations") or [])[:5])
    return str(error.get("message") or fields)


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) or (isinstance(value, str) and value.isdigit()) else 0


def _owner(found: Json) -> str:
    return next((one["uid"] for one in found["metadata"].get("ownerReferences") or () if one.get("controller")), "")


def _condition(found: Json, kind: str) -> Json | None:
    return next((one for one in (found.get("status") or {}).get("conditions") or () if one["type"] == kind), None)


def _is_true(condition: Json | None) -> bool:
    return condition is not None and condition.get("status") == "True"


def _job(job: Json, pods: Mapping[str, list[Pod]]) -> Job:
    meta, status = job["metadata"], job.get("status") or {}
    failed = _condition(job, "Failed")
    labels = meta.get("labels") or {}
    found = tuple(sorted(pods.get(meta["uid"], ()), key=lambda pod: (pod.index, pod.name)))
    only = next((pod for pod in found if _told_its_result(pod)), None) if (job.get("spec") or {}).get("completions") == 1 else None
    ended = time_of(status.get("completionTime") or (failed or {}).get("lastTransitionTime"))
    return Job(
        name=meta["name"],
        uid=meta["uid"],
        stage=labels.get(STAGE_LABEL, ""),
        attempt=_whole(labels.get(ATTEMPT_LABEL, "0")),
        suspended=bool((job.get("spec") or {}).get("suspend")),
        deleting="deletionTimestamp" in meta,
        complete=_is_true(_condition(job, "Complete")) or only is not None,
        failed=(str(failed.get("reason", "")), str(failed.get("message", ""))) if failed is not None and _is_true(failed) else None,
        started=time_of(status.get("startTime")),
        ended=only.ended if ended is None and only is not None else ended,
        gpus=_whole((meta.get("annotations") or {}).get(GPUS, "0")),
        pods=found,
    )


def _told_its_result(pod: Pod) -> bool:
    return pod.exit_code == 0 and pod.outcome is not None and pod.outcome.state == "SUCCEEDED" and bool(pod.outcome.fingerprint)


def _pod(pod: Json) -> Pod:
    meta, status = pod["metadata"], pod.get("status") or {}
    scheduled, disrupted = _condition(pod, "PodScheduled"), _condition(pod, "DisruptionTarget")
    container: Json = next(iter(status.get("containerStatuses") or ()), {})
    state: Json = container.get("state") or {}
    ended: Json = state.get("terminated") or {}
    waiting: Json = state.get("waiting") or {}
    unschedulable = scheduled is not None and scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        phase=str(status.get("phase", "Pending")),
        index=_whole((meta.get("labels") or {}).get(INDEX_LABEL, "0")),
        address=str(status.get("podIP", "")),
        deleting="deletionTimestamp" in meta,
        disrupted=str((disrupted or {}).get("reason", "")) if _is_true(disrupted) else "",
        unschedulable=str((scheduled or {}).get("message", "")) if unschedulable else "",
        scheduled=time_of((scheduled or {}).get("lastTransitionTime")) if _is_true(scheduled) else None,
        waiting=(str(waiting.get("reason", "")), str(waiting.get("message", ""))),
        exit_code=ended.get("exitCode") if ended else None,
        exit_reason=str(ended.get("reason", "")) or str(status.get("reason", "")),
        ended=time_of(ended.get("finishedAt")),
        outcome=outcome_of(str(ended.get("message", ""))) if ended.get("message") else None,
    )
