"""Who is making what: a mark in the store that says that a living process is at work on something, so that others take something else.

    claims/<name>        {"owner": ..., "beat": n}, rewritten every second while the owner lives

A claim is a courtesy and not a lock: results are put if absent, so the worst that a lost claim does is work done twice. Nobody's clock is
compared with another's: a claim is dead when its beat has not changed for a while by the observer's own clock, or when its owner was a
process of this machine that has ended.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kubetuner.errors import ArtifactError, KubeTunerError
from kubetuner.storage import ObjectStore

_BEAT_SECONDS: Final = 1.0
_OUTAGE_SECONDS: Final = 3.0


@dataclass(kw_only=True)
class Claims:
    """The claims of one process, and what it has seen of others'."""

    store: ObjectStore
    host: str = field(default_factory=socket.gethostname)
    dead_after_seconds: float = 10.0
    """How long a beat may stay as it is before its owner counts as dead."""
    _seen: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    _owner: str = field(default_factory=lambda: uuid.uuid4().hex)

    @contextmanager
    def take(self, name: str) -> Iterator[bool]:
        """True while this process may work on `name`; False where a living one is at it already."""
        key = f"claims/{name}"
        if not self._put(key, 0, replace=self._is_dead(key)):
            yield False
            return
        ended = threading.Event()
        beating = threading.Thread(target=self._keep, args=(key, ended), name="claim", daemon=True)
        beating.start()
        try:
            yield True
        finally:
            ended.set()
            beating.join()
            self.store.delete(key)

    def beat(self, name: str) -> bytes | None:
        """What a claim holds at the moment, which changes while its owner lives; None where nobody claims it."""
        key = f"claims/{name}"
        try:
            return self.store.get(key)
        except ArtifactError:
            return None

    def _is_dead(self, key: str) -> bool:
        asked = time.monotonic()
        try:
            claim = self.store.get(key)
        except ArtifactError:  # gone meanwhile: put decides
            return False
        if self._has_ended(claim):
            return True
        beat, since = self._seen.get(key, (None, 0.0))
        now = time.monotonic()
        store_was_away = now - asked > _OUTAGE_SECONDS  # for its owner too, who could not beat meanwhile
        if beat != claim or store_was_away:
            self._seen[key] = (claim, now)
            return False
        return now - since > self.dead_after_seconds

    def _has_ended(self, claim: bytes) -> bool:
        """Whether its owner was a process of this machine that is no more. What cannot be read is of another version, or damaged."""
        try:
            content = json.loads(claim)
            return bool(content["host"] == self.host and _start_of(content["process"]) != content["started"])
        except (ValueError, LookupError, TypeError):
            return False

    def _keep(self, key: str, ended: threading.Event) -> None:
        beat = 0
        while not ended.wait(_BEAT_SECONDS):
            beat += 1
            with suppress(KubeTunerError):  # a store that cannot be written to is for the work itself to meet
                self._put(key, beat, replace=True)

    def _put(self, key: str, beat: int, *, replace: bool) -> bool:
        process = os.getpid()
        claim = {"owner": self._owner, "beat": beat, "host": self.host, "process": process, "started": _start_of(process)}
        return self.store.put(key, json.dumps(claim).encode(), replace=replace, durable=False)  # a power cut ends its owner, too


def _start_of(process: int) -> str:
    """When a living process of this machine began, in the kernel's ticks; empty where there is none (or no /proc)."""
    try:
        status = Path(f"/proc/{process}/stat").read_text("ascii", "replace")
    except OSError:
        return ""
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]  # ended, and its parent has not asked yet
