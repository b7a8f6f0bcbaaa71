"""What the object store says: finished results, and what became of a job. Asked in threads, remembered, never more often than it answers.

A store that is away is no fault of a run: the answer then is a problem, and it is asked again after a pause that grows.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from kubetuner import flow
from kubetuner.artifacts import objects, outputs
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.controller.api import Json
from kubetuner.controller.observe import UNREACHABLE, Look, Outcome, outcome_of, together
from kubetuner.errors import InputError, KubeTunerError
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage import ObjectStore

_KEPT: Final = 20_000
_PAUSE: Final = (1.0, 60.0)
_THREADS: Final = 4
LARGEST_SPEC: Final = 190 * 1024
A = TypeVar("A")
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which stage of which run, on what."""

    run: Json
    stage: str
    source: tuple[str, str] | None
    model: str


@dataclass(slots=True)
class _Pace:
    failures: int = 0
    not_before: float = 0.0


@dataclass(slots=True, kw_only=True)
class Stock:
    """The controller's view of the object store."""

    open: Callable[[], ObjectStore]
    """Called once, at the first question, in a thread."""
    clock: Callable[[], float] = time.monotonic
    _store: ObjectStore | None = None
    _looks: OrderedDict[tuple[str, str], Look] = field(default_factory=OrderedDict)
    _outcomes: OrderedDict[tuple[str, str, int], Outcome] = field(default_factory=OrderedDict)
    _pace: _Pace = field(default_factory=_Pace)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix="store"))

    def looks(self, uid: str) -> dict[str, Look]:
        """Answers about the stages of a run."""
        return {stage.name: look for stage in flow.STAGES if (look := self._looks.get((uid, stage.name)))}

    def outcomes(self, uid: str, attempts: list[tuple[str, int]]) -> dict[tuple[str, int], Outcome]:
        """Answers about attempts of a run."""
        return {(stage, attempt): found for stage, attempt in attempts if (found := self._outcomes.get((uid, stage, attempt)))}

    def forget(self, uid: str) -> None:
        """The run is gone or done."""
        for stage in flow.STAGES:
            self._looks.pop((uid, stage.name), None)
        for key in [key for key in self._outcomes if key[0] == uid] if self._outcomes else []:
            del self._outcomes[key]

    async def look(self, question: Question) -> float:
        """Ask whether a stage's result is there; returns seconds until it is worth asking again, 0 with an answer."""
        uid = question.run["metadata"]["uid"]
        if (left := self._pace.not_before - self.clock()) > 0:
            problem = self._looks.get((uid, question.stage))
            self._keep(self._looks, (uid, question.stage), problem if problem else Look(problem="it did not answer a moment ago"))
            return left
        found = await self._ask(lambda store: _look(store, question), lambda problem: Look(problem=problem))
        self._keep(self._looks, (uid, question.stage), found)
        return self._left(bool(found.problem))

    async def read_job(self, uid: str, stage: str, attempt: int) -> float:
        """Ask what became of an attempt; as `look`."""
        key = (uid, stage, attempt)
        if (left := self._pace.not_before - self.clock()) > 0:
            self._keep(self._outcomes, key, Outcome(state=UNREACHABLE, message="it did not answer a moment ago"))
            return left
        name = f"{uid}-{stage}-{attempt}"
        found = await self._ask(lambda store: _read_job(store, name), lambda problem: Outcome(state=UNREACHABLE, message=problem))
        self._keep(self._outcomes, key, found)
        return self._left(found.state == UNREACHABLE)

    async def _ask(self, question: Callable[[ObjectStore], A], away: Callable[[str], A]) -> A:
        def ask() -> A:
            if self._store is None:
                self._store = self.open()
            return question(self._store)

        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except (KubeTunerError, OSError) as error:
            self._pace.failures += 1
            self._pace.not_before = self.clock() + min(_PAUSE[1], _PAUSE[0] * 2 ** min(self._pace.failures - 1, 20))
            return away(str(error).splitlines()[0] if str(error) else type(error).__name__)
        self._pace = _Pace()
        return answer

    def _left(self, problem: bool) -> float:
        return max(0.05, self._pace.not_before - self.clock()) if problem else 0.0

    @staticmethod
    def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
        kept[key] = value
        kept.move_to_end(key)
        while len(kept) > _KEPT:
            kept.popitem(last=False)


def problem_of(run: Json) -> str:
    """What is wrong with a run's spec, one field a line with its path; empty where nothing is."""
    try:
        parse_run(run)
    except InputError as error:
        return str(error)
    size = len(json.dumps(run["spec"], ensure_ascii=False).encode())
    return f"spec: {size // 1024} KiB; at most 190 KiB fit into a Job, so move captions into files" if size > LARGEST_SPEC else ""


def _look(store: ObjectStore, question: Question) -> Look:
    resolved = resolve(parse_run(question.run))
    source = ArtifactRef(noun=question.source[0], fingerprint=question.source[1]) if question.source else None
    model = ArtifactRef(noun="model", fingerprint=question.model) if question.model else None
    key = flow.memo_key(question.stage, resolved.spec, source, model)
    if store.head(key) is None:
        return Look()
    memo = json.loads(store.get(key))
    ref = ArtifactRef(noun=str(memo["noun"]), fingerprint=str(memo["fingerprint"]))
    needed = [
        ref,
        *([outputs.reference(ref, resolved)] if ref.noun == "report" else []),
    ]  # the files tell the run's name: each needs its own
    return Look(fingerprint=ref.fingerprint if not objects.gone(store, needed) else "")


def _read_job(store: ObjectStore, name: str) -> Outcome:
    first = _read(store, f"jobs/{name}/job.json")
    if first is None or first.fingerprint or first.state != "SUCCEEDED":
        return first or Outcome(state="")
    keys = [found.key for found in store.list(f"jobs/{name}-") if found.key.endswith("/job.json")]  # the other parts
    return together([first, *(found for key in keys if (found := _read(store, key)))]) or first


def _read(store: ObjectStore, key: str) -> Outcome | None:
    return None if store.head(key) is None else outcome_of(store.get(key).decode("utf-8", "replace"))
