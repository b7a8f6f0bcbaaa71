"""Why a pod that has a node does not start: a Secret that is not there and the like stand in the pod's Events and nowhere else.

An answer is good for a while that grows with each question, so that a pod which waits for days is asked about every few minutes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from kubetuner import log
from kubetuner.controller.api import EVENT, ApiError, Cluster, Json
from kubetuner.controller.observe import time_of

_LOG: Final = log.get(__name__)
_PAUSE: Final = (15.0, 300.0)
_KEPT: Final = 5_000
_MOST: Final = 50
_OF_THE_SCHEDULER: Final = ("Scheduled", "FailedScheduling")
_LESS: Final = "Unable to attach or mount volumes"
"""Begins words that only say that something took too long."""


@dataclass(slots=True)
class _Answer:
    words: tuple[str, str]
    pause: float
    until: float


@dataclass(slots=True, kw_only=True)
class Trouble:
    """What the Events of pods say."""

    cluster: Cluster
    clock: Callable[[], float]
    _answers: OrderedDict[str, _Answer] = field(default_factory=OrderedDict)

    def known(self, uids: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Answers about pods, by their UIDs, that are not too old."""
        if not self._answers:
            return {}
        found = ((uid, self._answers.get(uid)) for uid in uids)
        return {uid: answer.words for uid, answer in found if answer is not None and answer.until > self.clock()}

    async def ask(self, namespace: str, uid: str) -> None:
        """Learn what keeps a pod from starting. Who may not read Events, or gets no answer, knows nothing."""
        held = self._answers.get(uid)
        pause = min(_PAUSE[1], held.pause * 2) if held else _PAUSE[0]
        words = ("", "")
        try:
            page = await self.cluster.list(EVENT, namespace, fields=f"regarding.uid={uid}", limit=_MOST)
            words = warning(page.items)
        except ApiError as error:
            _LOG.debug("events were not read", error=str(error))
        self._answers[uid] = _Answer(words, pause, self.clock() + pause)
        self._answers.move_to_end(uid)
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)


def warning(events: Iterable[Json]) -> tuple[str, str]:
    """Reason and words of the newest warning that says the most; empty texts where there is none, or the pod got on after it."""
    found: list[Json] = []
    for event in sorted(events, key=_when, reverse=True):
        if event.get("reason") in _OF_THE_SCHEDULER:
            continue
        if event.get("type") != "Warning":
            break
        found.append(event)
    best = next((one for one in found if not str(one.get("note", "")).startswith(_LESS)), next(iter(found), {}))
    return str(best.get("reason", "")), str(best.get("note", ""))


def _when(event: Json) -> float:
    texts = (event.get("eventTime"), event.get("deprecatedLastTimestamp"), (event.get("series") or {}).get("lastObservedTime"))
    return max((moment.timestamp() for text in texts if (moment := time_of(text)) is not None), default=0.0)
