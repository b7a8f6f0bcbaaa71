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

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from kubetuner.controller.api import Json
from kubetuner.controller.jobs import asked, job_name
from kubetuner.controller.observe import MANAGER, UNREACHABLE, Job, Observation, Outcome, Pod, time_of
from kubetuner.controller.status import FINISHED, READY, Draft, Happening, duration, stamp
from kubetuner.flow import STAGES, Stage

_ENDED: Final = frozenset({"Succeeded", "Skipped"})
_RETRIES: Final = 3
_LONGEST_PAUSE: Final = 36
_USER_ERROR: Final = 2
_INTERRUPTED: Final = 143
_CANNOT_START: Final = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError",
    "RunContainerError",
})  # fmt: skip


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
class DeleteRun:
    """The run's time after its end is over."""


Action = Create | Delete | Find | LookUp | ReadJob | DeleteRun


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
class _Turn:
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


def decide(seen: Observation, now: datetime) -> Decision:
    """What to do about a run at this moment."""
    if seen.deleting or seen.spec.get("managedBy", MANAGER) not in ("", MANAGER):
        return Decision()
    turn = _Turn(seen=seen, now=now, draft=Draft(seen.status, seen.generation, now))
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


def _after_the_end(turn: _Turn) -> None:
    _delete(turn, turn.live)
    ttl = (turn.seen.spec.get("compute") or {}).get("ttlSecondsAfterFinished")
    ended = time_of(turn.seen.status["completionTime"])
    if ttl is None or ended is None:
        return
    left = (ended + timedelta(seconds=int(ttl)) - turn.now).total_seconds()
    if left <= 0:
        turn.then.append(DeleteRun())
    else:
        turn.look_again(left)


def _refuse(turn: _Turn) -> None:
    """The spec is wrong. This is no end: a corrected spec is looked at anew."""
    draft, problem = turn.draft, turn.seen.problem
    if draft.status.get("phase") != "Failed" or draft.status.get("message") != _first_line(problem):
        draft.tell("InvalidSpec", _first_line(problem), warning=True)
    draft.status["phase"] = "Failed"
    draft.condition("Accepted", "False", "InvalidSpec", problem)
    draft.condition("Succeeded", "False", "InvalidSpec", _first_line(problem))


def _accept(turn: _Turn) -> None:
    draft = turn.draft
    draft.condition("Accepted", "True", "Valid", "the spec is valid")
    draft.condition("Succeeded", "Unknown", "InProgress", "")
    draft.status.setdefault("phase", "Pending")
    if draft.status["phase"] == "Failed":  # it was refused before it was corrected
        draft.status["phase"] = "Pending"
    if queue := turn.seen.spec.get("queue"):
        draft.status["queue"] = queue


def _work(turn: _Turn) -> None:
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


def _stop(turn: _Turn, phase: str, message: str) -> None:
    """End what runs; the phase changes once nothing runs any more. A Job that ended well meanwhile keeps its result."""
    draft = turn.draft
    for job in turn.live:
        row = draft.row(job.stage)
        if row["phase"] != "Stopped":
            _count_gpus(turn, job, turn.now)
            draft.set_row(job.stage, "Stopped", phase, "its pods save their state and end")
        row.update(attempt=max(int(row.get("attempt", 0)), job.attempt), job=job.name, jobUid=job.uid)
    _delete(turn, turn.live)
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


def _unseen(turn: _Turn) -> bool:
    """Whether a Job that the status names as at work is not in the caches, and must be asked for: it may run all the same."""
    for row in turn.draft.status.get("stages") or []:
        name = row.get("job", "")
        at_work = row["phase"] in ("Queued", "Pending", "Running") and not row.get("retryTime")
        if name and at_work and name not in turn.seen.gone and not any(job.name == name for job in turn.seen.jobs):
            turn.first.append(Find(name=name))
            return True
    return False


def _delete(turn: _Turn, jobs: list[Job]) -> None:
    turn.then.extend(Delete(name=job.name, uid=job.uid) for job in jobs if not job.deleting and not job.finished)


def _deadline(turn: _Turn) -> int:
    return int((turn.seen.spec.get("compute") or {}).get("activeDeadlineSeconds") or 0)


def _is_late(turn: _Turn) -> bool:
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


def _walk(turn: _Turn) -> None:
    """Each stage in its order, up to the one that is at work."""
    draft = turn.draft
    source: tuple[str, str] | None = None
    for stage in STAGES:
        if draft.find_row(stage.name).get("phase") not in _ENDED and not _advance(turn, stage, source):
            return
        source = (stage.gives, draft.status["artifacts"][stage.gives])
    report = draft.status["artifacts"][STAGES[-1].gives]
    draft.finish("Succeeded", "Succeeded", f"all stages are done; report {report}")


def _advance(turn: _Turn, stage: Stage, source: tuple[str, str] | None) -> bool:
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
    row.update(attempt=job.attempt, job=job.name, jobUid=job.uid)
    row.setdefault("startTime", stamp(job.started or turn.now))
    if job.complete:
        return _succeed(turn, stage, source, job)
    if row.get("phase") == "Stopped" and not job.failed:
        _delete(turn, [job])  # it was condemned before the run was resumed
        return False
    if job.failed:
        return _fail(turn, stage, source, job, job.failed)
    if job.deleting:
        if draft.set_row(stage.name, "Pending", "JobDeleted", "somebody deletes its Job; it is begun again when its pods have ended"):
            draft.tell("JobDeleted", f"{stage.name}: somebody deletes its Job", warning=True, stage=stage.name)
        return False
    _follow(turn, stage, job)
    return False


def _begin(turn: _Turn, stage: Stage, source: tuple[str, str] | None) -> bool:
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
            _store_away(turn, look.problem)
        return False
    _store_back(turn)
    if not look.fingerprint:
        _create(turn, stage, source, 1)
        return False
    now = stamp(turn.now)
    draft.set_row(stage.name, "Skipped", "InStore", "its result is in the store already")
    draft.row(stage.name).update(startTime=now, completionTime=now)
    draft.status.setdefault("artifacts", {})[stage.gives] = look.fingerprint
    draft.status["phase"] = "Running"
    draft.condition(READY[stage.name], "True", "InStore", f"{stage.gives} {look.fingerprint}")
    draft.tell(f"{_title(stage)}Skipped", f"{stage.name}: its result is in the store already", stage=stage.name)
    return True


def _create(turn: _Turn, stage: Stage, source: tuple[str, str] | None, attempt: int) -> None:
    draft, name = turn.draft, job_name(turn.seen.name, stage.name, attempt)
    row = draft.row(stage.name)
    if blocked := turn.seen.blocked.get(name):
        reason, message = blocked
        if reason == "Invalid":
            draft.set_row(stage.name, "Failed", reason, message)
            draft.condition(READY[stage.name], "False", reason, message)
            draft.finish("Failed", "JobRefused", f"{stage.name}: the API server refuses its Job: {message}")
            return
        if draft.set_row(stage.name, "Pending", reason, message):
            draft.tell(reason, f"{stage.name}: {message}", warning=True, stage=stage.name)
    else:
        draft.set_row(stage.name, "Pending", "Created" if attempt == 1 else "Retried", "waits for its pod")
        row.update(attempt=attempt, job=name)
        row.pop("retryTime", None)
        row.pop("jobUid", None)
        row.setdefault("startTime", stamp(turn.now))
        draft.status["phase"] = "Pending" if draft.status.get("phase") == "Pending" else "Running"
        draft.condition(READY[stage.name], "False", "InProgress", "")
        word = "Started" if attempt == 1 else "Retried"
        draft.tell(f"{_title(stage)}{word}", f"{stage.name}: attempt {attempt}, Job {name}", stage=stage.name)
    model = draft.status.get("artifacts", {}).get("model", "")
    order = Create(stage=stage.name, attempt=attempt, source=source, model=model)
    # The very first Job is made before anything is written, since somebody waits for it; what came before a later one must be on record.
    (turn.first if stage.takes is None and attempt == 1 else turn.then).append(order)


def _without_job(turn: _Turn, stage: Stage, source: tuple[str, str] | None, latest: int) -> bool:
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
            _store_away(turn, outcome.message)
        return False
    _store_back(turn)
    if outcome.state == "SUCCEEDED" and outcome.fingerprint:
        return _done(turn, stage, outcome)
    if outcome.state == "FAILED" and not outcome.retryable:
        _give_up(turn, stage, outcome.reason, outcome.message)
        return False
    _charge(turn, stage, source, latest, "JobLost", f"Job {name} is gone and nobody said why")
    draft.row(stage.name).pop("jobUid", None)
    return False


def _succeed(turn: _Turn, stage: Stage, source: tuple[str, str] | None, job: Job) -> bool:
    outcome = next((pod.outcome for pod in job.pods if pod.outcome and pod.outcome.fingerprint), None)
    outcome = outcome or turn.seen.outcomes.get((stage.name, job.attempt))
    if outcome is None or outcome.state == UNREACHABLE:
        turn.first.append(ReadJob(stage=stage.name, attempt=job.attempt))
        if outcome is not None:
            _store_away(turn, outcome.message)
        return False
    _store_back(turn)
    _count_gpus(turn, job, job.ended or turn.now)
    if progress := turn.seen.progress.get(job.uid):
        turn.draft.progress(stage.name, progress)
    if outcome.fingerprint:
        return _done(turn, stage, outcome)
    _charge(turn, stage, source, job.attempt, "ResultMissing", "its pod ended well but told no result, and the store has none")
    return False


def _done(turn: _Turn, stage: Stage, outcome: Outcome) -> bool:
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
    draft.tell(f"{_title(stage)}Succeeded", f"{stage.name}: {stage.gives} {outcome.fingerprint}", stage=stage.name)
    return True


def _fail(turn: _Turn, stage: Stage, source: tuple[str, str] | None, job: Job, why: tuple[str, str]) -> bool:
    """The attempt failed: the user's fault ends the run, preemption is free, all else is counted."""
    row = turn.draft.row(stage.name)
    pods = [pod for pod in job.pods if pod.exit_code not in (None, 0)]
    if row.get("phase") == "Stopped" or job_name(turn.seen.name, stage.name, job.attempt + 1) in turn.seen.blocked:
        _create(turn, stage, source, job.attempt + 1)
        return False
    _count_gpus(turn, job, job.ended or turn.now)
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
    reason, message = _words(pods, outcome, why)
    _charge(turn, stage, source, job.attempt, reason, message)
    return False


def _words(pods: list[Pod], outcome: Outcome | None, why: tuple[str, str]) -> tuple[str, str]:
    """Why an attempt failed, from whoever knows best."""
    if outcome is not None and outcome.message:
        return outcome.reason or "StageFailed", outcome.message
    if pods:
        pod = pods[0]
        return pod.exit_reason or "Error", f"pod {pod.name} ended with exit code {pod.exit_code}"
    return why


def _charge(turn: _Turn, stage: Stage, source: tuple[str, str] | None, attempt: int, reason: str, message: str) -> None:
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


def _give_up(turn: _Turn, stage: Stage, reason: str, message: str) -> None:
    draft = turn.draft
    draft.set_row(stage.name, "Failed", reason or "Failed", message)
    draft.row(stage.name)["completionTime"] = stamp(turn.now)
    draft.condition(READY[stage.name], "False", _camel(reason) or "Failed", message)
    draft.finish("Failed", _camel(reason) or "Failed", f"{stage.name}: {message}")


def _follow(turn: _Turn, stage: Stage, job: Job) -> None:
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
    phase, reason, message = _standing(job)
    together = int(asked(turn.seen.spec, stage.name).get("nodes", 1)) > 1
    if draft.find_row(stage.name).get("reason") == "Preempted" and reason in (("Pending", "Running") if together else ("Pending",)):
        reason = "Preempted"  # kept until a pod runs again, and for good where its peers fail of it
    if draft.set_row(stage.name, phase, reason, message) and reason not in ("Running", "Pending"):
        draft.tell(reason, f"{stage.name}: {message}", warning=True, stage=stage.name)
    draft.status["phase"] = "Running" if phase == "Running" else "Pending"
    if progress := turn.seen.progress.get(job.uid):
        draft.progress(stage.name, progress)


def _standing(job: Job) -> tuple[str, str, str]:
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


def _unschedulable(words: str) -> str:
    """The scheduler's words, with what they mean in front."""
    _, found, rest = words.partition("Insufficient ")
    resource = rest.split(",")[0].split(" ")[0].rstrip(".") if found else ""
    if "/" in resource:
        return f"asks for a GPU ({resource}) that no node has free: {words}"
    return f"no node fits: {words}"


def _count_gpus(turn: _Turn, job: Job, until: datetime) -> None:
    """Add what the Job held; told once, when its row leaves the state in which it runs."""
    if job.gpus and job.started is not None:
        held = job.gpus * max(0.0, (until - job.started).total_seconds())
        turn.draft.status["gpuSeconds"] = round(float(turn.draft.status.get("gpuSeconds", 0)) + held, 1)


def _store_away(turn: _Turn, problem: str) -> None:
    """The object store does not answer: this is no failure of the run. Whoever asked it asks again."""
    draft = turn.draft
    if not any(one["type"] == "StoreReachable" and one["status"] == "False" for one in draft.status.get("conditions") or ()):
        draft.tell("StoreUnreachable", f"the object store does not answer: {problem}", warning=True)
    draft.condition("StoreReachable", "False", "Unreachable", problem)


def _store_back(turn: _Turn) -> None:
    if any(one["type"] == "StoreReachable" for one in turn.draft.status.get("conditions") or ()):
        turn.draft.condition("StoreReachable", "True", "Reachable", "")


def _title(stage: Stage) -> str:
    return stage.name.capitalize()


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def _camel(reason: str) -> str:
    """A reason of a condition: upper-case words become one CamelCase word."""
    return "".join(part.capitalize() for part in reason.split("_")) if "_" in reason or reason.isupper() else reason
