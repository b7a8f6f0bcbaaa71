"""What to do about a run: the file to read to know the controller.

Pure: an Observation and the time in, a Decision out, the same for the same facts. Whoever acts on it may be killed at any point, hear of
changes late, twice or never, and have its writes refused: the next Observation leads on from what is there. Three rules carry that.

1. A stage's attempt N is the Job `<run>-<stage>-N`, so making it twice is refused by the API server. Attempt N+1 is only begun when N has
   ended or was condemned (`Stopped`), and the status says so before N is deleted and before N+1 is made.
2. A Job that the status knows by its UID and nobody sees is asked for by name (Find) before anything follows from its absence.
3. An ended run is never worked on again, but for the Jobs that are still to be deleted and its own deletion after its TTL.

    cancel? suspend? deadline? ─▶ for each stage: done ─▶ next │ not begun: in the store? skip : create │ Job there: how does it stand?
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from kubetuner.controller.attempts import advance
from kubetuner.controller.observe import MANAGER, Observation, time_of
from kubetuner.controller.status import FINISHED, Draft
from kubetuner.controller.turn import Decision, DeleteRun, Find, Turn, count_gpus, delete
from kubetuner.flow import STAGES

_ENDED: Final = frozenset({"Succeeded", "Skipped"})


def decide(seen: Observation, now: datetime) -> Decision:
    """What to do about a run at this moment."""
    if seen.deleting or seen.spec.get("managedBy", MANAGER) not in ("", MANAGER):
        return Decision()
    turn = Turn(seen=seen, now=now, draft=Draft(seen.status, seen.generation, now))
    if seen.status.get("phase") in FINISHED and seen.status.get("completionTime"):
        _after_the_end(turn)
        return Decision(then=tuple(turn.then), again=turn.again)
    if seen.problem:
        _refuse(turn)
    else:
        _accept(turn)
        _work(turn)
    status = turn.draft.settle()
    return Decision(
        first=tuple(turn.first), status=status, then=tuple(turn.then), happenings=tuple(turn.draft.happenings), again=turn.again
    )


def _after_the_end(turn: Turn) -> None:
    delete(turn, turn.live)
    ttl = (turn.seen.spec.get("compute") or {}).get("ttlSecondsAfterFinished")
    ended = time_of(turn.seen.status["completionTime"])
    if ttl is None or ended is None:
        return
    left = (ended + timedelta(seconds=int(ttl)) - turn.now).total_seconds()
    if left <= 0:
        turn.then.append(DeleteRun())
    else:
        turn.look_again(left)


def _refuse(turn: Turn) -> None:
    """The spec is wrong. This is no end: a corrected spec is looked at anew."""
    draft, problem = turn.draft, turn.seen.problem
    if draft.status.get("phase") != "Failed" or draft.status.get("message") != _first_line(problem):
        draft.tell("InvalidSpec", _first_line(problem), warning=True)
    draft.status["phase"] = "Failed"
    draft.condition("Accepted", "False", "InvalidSpec", problem)
    draft.condition("Succeeded", "False", "InvalidSpec", _first_line(problem))


def _accept(turn: Turn) -> None:
    draft = turn.draft
    draft.condition("Accepted", "True", "Valid", "the spec is valid")
    draft.condition("Succeeded", "Unknown", "InProgress", "")
    draft.status.setdefault("phase", "Pending")
    if draft.status["phase"] == "Failed":  # it was refused before it was corrected
        draft.status["phase"] = "Pending"
    if queue := turn.seen.spec.get("queue"):
        draft.status["queue"] = queue


def _work(turn: Turn) -> None:
    spec, draft = turn.seen.spec, turn.draft
    if spec.get("cancel"):
        _stop(turn, "Cancelled", "cancelled by spec.cancel; the state is saved")
        return
    if spec.get("suspend"):
        _stop(turn, "Suspended", "suspended by spec.suspend; the state is saved")
        return
    if draft.holds("Suspended"):
        draft.condition("Suspended", "False", "Resumed", "")
        draft.tell("Resumed", "the run goes on from its newest checkpoint")
        draft.status["phase"] = "Pending"
    if _is_late(turn):
        _stop(turn, "Failed", f"DeadlineExceeded: not done within spec.compute.activeDeadlineSeconds ({_deadline(turn)} s)")
        return
    _walk(turn)
    _is_late(turn)  # its time may have begun just now


def _stop(turn: Turn, phase: str, message: str) -> None:
    """End what runs; the phase changes once nothing runs any more. A Job that ended well meanwhile keeps its result."""
    draft = turn.draft
    for job in turn.live:
        row = draft.row(job.stage)
        if row["phase"] != "Stopped":
            count_gpus(turn, job, turn.now)
            draft.set_row(job.stage, "Stopped", phase, "its pods save their state and end")
        row.update(attempt=max(int(row.get("attempt", 0)), job.attempt), job=job.name, jobUid=job.uid)
    delete(turn, turn.live)
    if turn.live:
        if phase == "Suspended" and draft.status.get("reason") != "Suspending":
            draft.tell("Suspending", "the stage saves its state")
        return
    if _unseen(turn):
        return
    if phase == "Suspended":
        if not draft.holds("Suspended"):
            draft.condition("Suspended", "True", "Suspended", message)
            draft.tell("Suspended", message)
        draft.status["phase"] = "Suspended"
        if progress := draft.status.get("progress"):
            progress.pop("eta", None)
            progress.pop("remainingSeconds", None)
        return
    reason, _, rest = message.partition(": ")
    draft.finish(phase, reason if rest else phase, rest or message)


def _unseen(turn: Turn) -> bool:
    """Whether a Job that the status names as at work is not in the caches, and must be asked for: it may run all the same."""
    for row in turn.draft.status.get("stages") or []:
        name = row.get("job", "")
        at_work = row["phase"] in ("Queued", "Pending", "Running") and not row.get("retryTime")
        if name and at_work and name not in turn.seen.gone and not any(job.name == name for job in turn.seen.jobs):
            turn.first.append(Find(name=name))
            return True
    return False


def _deadline(turn: Turn) -> int:
    return int((turn.seen.spec.get("compute") or {}).get("activeDeadlineSeconds") or 0)


def _is_late(turn: Turn) -> bool:
    """Whether the run has worked for too long; its time begins with its first pod, and again when it is resumed."""
    begun = time_of(turn.draft.status.get("startTime"))
    if not _deadline(turn) or begun is None:
        return False
    resumed = [
        time_of(one.get("lastTransitionTime"))
        for one in turn.draft.status.get("conditions") or ()
        if one["type"] == "Suspended" and one["status"] == "False"
    ]
    left = (max(one for one in [begun, *resumed] if one) + timedelta(seconds=_deadline(turn)) - turn.now).total_seconds()
    if left > 0:
        turn.look_again(max(1.0, left))
    return left <= 0


def _walk(turn: Turn) -> None:
    """Each stage in its order, up to the one that is at work."""
    draft = turn.draft
    source: tuple[str, str] | None = None
    for stage in STAGES:
        if draft.find_row(stage.name).get("phase") not in _ENDED and not advance(turn, stage, source):
            return
        source = (stage.gives, draft.status["artifacts"][stage.gives])
    report = draft.status["artifacts"][STAGES[-1].gives]
    draft.finish("Succeeded", "Succeeded", f"all stages are done; report {report}")


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""
