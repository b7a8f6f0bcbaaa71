"""One stage's attempts: begun, skipped, followed, retried, given up. Part of `decide`, pure as it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kubetuner.controller.jobs import job_name
from kubetuner.controller.observe import UNREACHABLE, Job, Outcome, time_of, together
from kubetuner.controller.standing import follow, words
from kubetuner.controller.status import READY, duration, stamp
from kubetuner.controller.turn import Create, Find, LookUp, ReadJob, Turn, camel, count_gpus, delete, store_away, store_back, title
from kubetuner.flow import Stage

_RETRIES: Final = 3
_LONGEST_PAUSE: Final = 36
_USER_ERROR: Final = 2
_INTERRUPTED: Final = 143


def advance(turn: Turn, stage: Stage, source: tuple[str, str] | None) -> bool:
    """Bring one stage further; True where it is done."""
    seen, draft = turn.seen, turn.draft
    draft.status["stage"] = stage.name
    row = draft.find_row(stage.name)
    jobs = [job for job in seen.jobs if job.stage == stage.name]
    latest = max([int(row.get("attempt", 0)), *(job.attempt for job in jobs)])
    if latest == 0:
        return _begin(turn, stage, source)
    job = next((job for job in jobs if job.attempt == latest), None)
    if job is None:
        return _without_job(turn, stage, source, latest)
    row = draft.row(stage.name)
    if row.get("retryTime"):
        if int(row.get("attempt", 0)) == latest:
            return _without_job(turn, stage, source, latest)
        del row["retryTime"]  # the attempt was begun, and the status that said so was lost
    if int(row.get("attempt", 0)) < job.attempt:
        _announce(turn, stage, job.attempt)
    row.update(jobUid=job.uid)
    if job.complete:
        return _succeed(turn, stage, source, job)
    if row.get("phase") == "Stopped" and not job.failed:
        delete(turn, [job])  # it was condemned before the run was resumed
        return False
    if job.failed:
        return _fail(turn, stage, source, job, job.failed)
    if job.deleting:
        if draft.set_row(stage.name, "Pending", "JobDeleted", "somebody deletes its Job; it is begun again when its pods have ended"):
            draft.tell("JobDeleted", f"{stage.name}: somebody deletes its Job", warning=True, stage=stage.name)
        return False
    follow(turn, stage, job)
    return False


def _begin(turn: Turn, stage: Stage, source: tuple[str, str] | None) -> bool:
    """The first attempt, or none where the artifact is in the store already. Ingest always looks at the data, which may have changed."""
    draft = turn.draft
    model = draft.status.get("artifacts", {}).get("model", "")
    if stage.takes is None:
        _create(turn, stage, source, 1)
        return False
    look = turn.seen.looks.get(stage.name)
    if look is None or look.problem:
        turn.first.append(LookUp(stage=stage.name, source=source, model=model))
        if look is not None:
            store_away(turn, look.problem)
        return False
    store_back(turn)
    if not look.fingerprint:
        _create(turn, stage, source, 1)
        return False
    now = stamp(turn.now)
    draft.set_row(stage.name, "Skipped", "InStore", "its result is in the store already")
    draft.row(stage.name).update(startTime=now, completionTime=now)
    draft.status.setdefault("artifacts", {})[stage.gives] = look.fingerprint
    draft.status["phase"] = "Running"
    draft.leave_progress(stage.name)
    draft.condition(READY[stage.name], "True", "InStore", f"{stage.gives} {look.fingerprint}")
    draft.tell(f"{title(stage)}Skipped", f"{stage.name}: its result is in the store already", stage=stage.name)
    return True


def _create(turn: Turn, stage: Stage, source: tuple[str, str] | None, attempt: int) -> None:
    draft, name = turn.draft, job_name(turn.seen.name, stage.name, attempt)
    first = stage.takes is None and attempt == 1
    if blocked := turn.seen.blocked.get(name):
        reason, message = blocked
        if reason == "Invalid":
            draft.set_row(stage.name, "Failed", reason, message)
            draft.condition(READY[stage.name], "False", reason, message)
            draft.finish("Failed", "JobRefused", f"{stage.name}: the API server refuses its Job: {message}")
            return
        if draft.set_row(stage.name, "Pending", reason, message):
            draft.tell(reason, f"{stage.name}: {message}", warning=True, stage=stage.name)
    elif not first:
        _announce(turn, stage, attempt)
        draft.row(stage.name).pop("jobUid", None)
    model = draft.status.get("artifacts", {}).get("model", "")
    order = Create(stage=stage.name, attempt=attempt, source=source, model=model)
    # The very first Job is made before anything is written, since somebody waits for it; what came before a later one must be on record.
    (turn.first if first else turn.then).append(order)


def _announce(turn: Turn, stage: Stage, attempt: int) -> None:
    """Put an attempt on record: that it will be made, or that it is there."""
    draft, name = turn.draft, job_name(turn.seen.name, stage.name, attempt)
    row = draft.row(stage.name)
    word = "Started" if attempt == 1 else "Resumed" if row["phase"] == "Stopped" else "Retried"
    if int(row.get("attempt", 0)) < attempt:
        how = "goes on, " if word == "Resumed" else ""
        draft.tell(f"{title(stage)}{word}", f"{stage.name}: {how}attempt {attempt}, Job {name}", stage=stage.name)
    draft.set_row(stage.name, "Pending", "Created" if attempt == 1 else word, "waits for its pod")
    draft.leave_progress(stage.name)
    row.update(attempt=attempt, job=name)
    row.pop("retryTime", None)
    row.setdefault("startTime", stamp(turn.now))
    draft.status["phase"] = "Pending" if draft.status.get("phase") == "Pending" else "Running"
    draft.condition(READY[stage.name], "False", "InProgress", "")


def _without_job(turn: Turn, stage: Stage, source: tuple[str, str] | None, latest: int) -> bool:
    """The newest attempt has no Job: stopped, waiting for its retry, not made yet, or lost."""
    draft, row = turn.draft, turn.draft.row(stage.name)
    name = job_name(turn.seen.name, stage.name, latest)
    if row["phase"] == "Stopped":
        _create(turn, stage, source, latest + 1)
        return False
    if retry := time_of(row.get("retryTime")):
        left = (retry - turn.now).total_seconds()
        if left > 0:
            turn.look_again(left)
        else:
            _create(turn, stage, source, latest + 1)
        return False
    if not row.get("jobUid"):  # it was announced and nobody has seen it yet
        _create(turn, stage, source, latest)
        return False
    if name not in turn.seen.gone:
        turn.first.append(Find(name=name))
        return False
    outcome = turn.seen.outcomes.get((stage.name, latest))
    if outcome is None or outcome.state == UNREACHABLE:
        turn.first.append(ReadJob(stage=stage.name, attempt=latest))
        if outcome is not None:
            store_away(turn, outcome.message)
        return False
    store_back(turn)
    if outcome.state == "SUCCEEDED" and outcome.fingerprint:
        return _done(turn, stage, outcome)
    if outcome.state == "FAILED" and not outcome.retryable:
        _give_up(turn, stage, outcome.reason, outcome.message)
        return False
    _charge(turn, stage, source, latest, "JobLost", f"Job {name} is gone and nobody said why")
    draft.row(stage.name).pop("jobUid", None)
    return False


def _succeed(turn: Turn, stage: Stage, source: tuple[str, str] | None, job: Job) -> bool:
    outcome = together(pod.outcome for pod in job.pods if pod.outcome and pod.outcome.state == "SUCCEEDED")
    outcome = outcome if outcome and outcome.fingerprint else turn.seen.outcomes.get((stage.name, job.attempt))
    if outcome is None or outcome.state == UNREACHABLE:
        turn.first.append(ReadJob(stage=stage.name, attempt=job.attempt))
        if outcome is not None:
            store_away(turn, outcome.message)
        return False
    store_back(turn)
    count_gpus(turn, job, job.ended or turn.now)
    if progress := turn.seen.progress.get(job.uid):
        turn.draft.progress(stage.name, progress)
    if outcome.fingerprint:
        return _done(turn, stage, outcome)
    _charge(turn, stage, source, job.attempt, "ResultMissing", "its pod ended well but told no result, and the store has none")
    return False


def _done(turn: Turn, stage: Stage, outcome: Outcome) -> bool:
    draft = turn.draft
    artifacts = draft.status.setdefault("artifacts", {})
    artifacts[stage.gives] = outcome.fingerprint
    if outcome.model:
        artifacts["model"] = outcome.model
    if stage.takes is None and outcome.images:
        draft.status["images"] = outcome.images
    if progress := draft.status.get("progress"):
        for name in ("eta", "remainingSeconds"):
            progress.pop(name, None)
    draft.set_row(stage.name, "Succeeded", "Succeeded", f"{stage.gives} {outcome.fingerprint}")
    draft.status["phase"] = "Running"
    draft.row(stage.name)["completionTime"] = stamp(turn.now)
    draft.condition(READY[stage.name], "True", "Succeeded", f"{stage.gives} {outcome.fingerprint}")
    draft.tell(f"{title(stage)}Succeeded", f"{stage.name}: {stage.gives} {outcome.fingerprint}", stage=stage.name)
    return True


def _fail(turn: Turn, stage: Stage, source: tuple[str, str] | None, job: Job, why: tuple[str, str]) -> bool:
    """The attempt failed: the user's fault ends the run, preemption is free, all else is counted."""
    row = turn.draft.row(stage.name)
    pods = [pod for pod in job.pods if pod.exit_code not in (None, 0)]
    if row.get("phase") == "Stopped" or job_name(turn.seen.name, stage.name, job.attempt + 1) in turn.seen.blocked:
        _create(turn, stage, source, job.attempt + 1)
        return False
    count_gpus(turn, job, job.ended or turn.now)
    outcome = next((pod.outcome for pod in pods if pod.outcome and pod.outcome.state == "FAILED"), None)
    blamed = next((pod for pod in pods if pod.exit_code == _USER_ERROR), None)
    if blamed is not None or (outcome is not None and not outcome.retryable):
        told = outcome or (blamed.outcome if blamed else None)
        _give_up(turn, stage, told.reason if told else "InputInvalid", told.message if told and told.message else why[1])
        return False
    disrupted = next((pod.disrupted for pod in job.pods if pod.disrupted), "")
    if disrupted or row.get("reason") == "Preempted" or any(pod.exit_code == _INTERRUPTED for pod in pods):
        turn.draft.tell("Preempted", f"{stage.name}: {disrupted or 'its pod was asked to end'}; begun again at no charge", stage=stage.name)
        _create(turn, stage, source, job.attempt + 1)
        return False
    reason, message = words(pods, outcome, why)
    _charge(turn, stage, source, job.attempt, reason, message)
    return False


def _charge(turn: Turn, stage: Stage, source: tuple[str, str] | None, attempt: int, reason: str, message: str) -> None:
    """Begin again after a pause, or give up when that was done often enough."""
    draft, row = turn.draft, turn.draft.row(stage.name)
    limit = int((turn.seen.spec.get("compute") or {}).get("retries", _RETRIES))
    used = int(row.get("retries", 0))
    if used >= limit:
        tries = f"after {used} of {limit} retries" if limit else "and spec.compute.retries is 0"
        _give_up(turn, stage, reason, f"{message} ({tries})")
        return
    pause = turn.seen.retry_seconds * min(2**used, _LONGEST_PAUSE)
    draft.set_row(stage.name, "Pending", reason, f"{message}; begun again in {duration(pause)}")
    row.update(retries=used + 1, attempt=attempt, retryTime=stamp(turn.now + timedelta(seconds=pause)))
    draft.tell(reason, f"{stage.name}: {message}; retry {used + 1} of {limit} in {duration(pause)}", warning=True, stage=stage.name)
    turn.look_again(pause)


def _give_up(turn: Turn, stage: Stage, reason: str, message: str) -> None:
    draft = turn.draft
    draft.set_row(stage.name, "Failed", reason or "Failed", message)
    draft.row(stage.name)["completionTime"] = stamp(turn.now)
    draft.condition(READY[stage.name], "False", camel(reason) or "Failed", message)
    draft.finish("Failed", camel(reason) or "Failed", f"{stage.name}: {message}")
