"""How a Job stands that has not ended, and why one failed: in words for the run's status."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kubetuner.controller.jobs import asked
from kubetuner.controller.observe import Job, Outcome, Pod
from kubetuner.controller.status import stamp
from kubetuner.controller.turn import ReadEvents, Turn
from kubetuner.flow import Stage

_CANNOT_START: Final = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError",
    "RunContainerError",
})  # fmt: skip
_NOT_YET: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_USUAL: Final = timedelta(seconds=5)
"""A pod that has a node and does not start within this is looked into."""
_NEXT_LOOK: Final = 15.0


def follow(turn: Turn, stage: Stage, job: Job) -> None:
    """The Job is there and has not ended: queued, waiting for a node or an image, or at work."""
    draft = turn.draft
    if job.suspended:
        if draft.set_row(stage.name, "Queued", "Queued", "its Job is suspended until the queue admits it"):
            draft.tell("Queued", f"{stage.name}: waits for the queue {turn.seen.spec.get('queue') or ''}".rstrip(), stage=stage.name)
        draft.status["phase"] = "Queued"
        draft.condition("QuotaReserved", "False", "Queued", "the Job is suspended until the queue admits it")
        return
    if turn.seen.spec.get("queue") or any(one["type"] == "QuotaReserved" for one in draft.status.get("conditions") or ()):
        draft.condition("QuotaReserved", "True", "Admitted", "")
    if job.started is not None:
        draft.status.setdefault("startTime", stamp(job.started))
    phase, reason, message = standing(job)
    if reason == "Pending":
        reason, message = _held_up(turn, job) or (reason, message)
    together = int(asked(turn.seen.spec, stage.name).get("nodes", 1)) > 1
    if draft.find_row(stage.name).get("reason") == "Preempted" and reason in (("Pending", "Running") if together else ("Pending",)):
        reason = "Preempted"  # kept until a pod runs again, and for good where its peers fail of it
    if draft.set_row(stage.name, phase, reason, message) and reason not in ("Running", "Pending"):
        draft.tell(reason, f"{stage.name}: {message}", warning=True, stage=stage.name)
    draft.status["phase"] = "Running" if phase == "Running" else "Pending"
    if progress := turn.seen.progress.get(job.uid):
        draft.progress(stage.name, progress)


def standing(job: Job) -> tuple[str, str, str]:
    """Phase, reason and message of a Job that may run."""
    pods = [pod for pod in job.pods if not pod.deleting and pod.phase in ("Pending", "Running", "Unknown")]
    disrupted = next((pod for pod in job.pods if pod.disrupted), None)
    for pod in pods:
        if pod.unschedulable:
            return "Pending", "Unschedulable", _unschedulable(pod.unschedulable)
        reason, message = pod.waiting
        if reason in _CANNOT_START:
            return "Pending", reason, f"pod {pod.name}: {message or reason}"
    if pods and all(pod.phase == "Running" for pod in pods) and (disrupted is None or disrupted.index in {pod.index for pod in pods}):
        return "Running", "Running", f"pod {pods[0].name}" + (f" and {len(pods) - 1} more" if len(pods) > 1 else "")
    if disrupted is not None:
        return "Pending", "Preempted", f"pod {disrupted.name}: {disrupted.disrupted}; another takes its place"
    return "Pending", "Pending", "waits for its pod"


def _held_up(turn: Turn, job: Job) -> tuple[str, str] | None:
    """What keeps a pod from starting that has a node: nothing of it is in its own status, so its Events are asked for."""
    for pod in job.pods:
        if pod.phase != "Pending" or pod.deleting or pod.scheduled is None or pod.waiting[0] not in _NOT_YET:
            continue
        if (left := (pod.scheduled + _USUAL - turn.now).total_seconds()) > 0:
            turn.look_again(left)
            continue
        turn.look_again(_NEXT_LOOK)
        known = turn.seen.warnings.get(pod.uid)
        if known is None:
            turn.first.append(ReadEvents(pod_uid=pod.uid))
        elif known[0]:
            return known[0], f"pod {pod.name}: {known[1]}"
    return None


def _unschedulable(words: str) -> str:
    """The scheduler's words, with what they mean in front."""
    _, found, rest = words.partition("Insufficient ")
    resource = rest.split(",")[0].split(" ")[0].rstrip(".") if found else ""
    if "/" in resource:
        return f"asks for a GPU ({resource}) that no node has free: {words}"
    return f"no node fits: {words}"


def words(pods: list[Pod], outcome: Outcome | None, why: tuple[str, str]) -> tuple[str, str]:
    """Why an attempt failed, from whoever knows best."""
    if outcome is not None and outcome.message:
        return outcome.reason or "StageFailed", outcome.message
    if pods:
        pod = pods[0]
        return pod.exit_reason or "Error", f"pod {pod.name} ended with exit code {pod.exit_code}"
    return why
