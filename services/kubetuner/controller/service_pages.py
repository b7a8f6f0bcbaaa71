"""Pages of a list of runs, newest first. A token says after which run to go on, and belongs to one question; nothing is kept here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Final

from kubetuner.controller.api import Json
from kubetuner.errors import SpecError, SpecErrors

USUAL: Final = 50
MOST_BYTES: Final = 3 << 20
"""Of a page's runs, well below what a message may hold."""
Place = tuple[str, str, str]
"""Creation time, name, namespace: where a run stands in the order."""


def place(run: Json) -> Place:
    """Where a run stands."""
    meta = run["metadata"]
    return meta.get("creationTimestamp", ""), meta["name"], meta.get("namespace", "")


def after(runs: Sequence[Json], token: str, question: str) -> list[Json]:
    """Those of the runs that come after a token's, newest first. Raises SpecErrors where the token is none of ours for this question."""
    ordered = sorted(runs, key=place, reverse=True)
    if not token:
        return ordered
    last = _read(token, question)
    return [run for run in ordered if place(run) < last]


def token(run: Json, question: str) -> str:
    """The token of the page after this run."""
    row = json.dumps([_digest(question), *place(run)], separators=(",", ":"))
    return base64.urlsafe_b64encode(row.encode()).decode("ascii").rstrip("=")


def _read(token: str, question: str) -> Place:
    try:
        row = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        digest, time, name, namespace = row
        if digest != _digest(question) or not all(isinstance(part, str) for part in (time, name, namespace)):
            raise ValueError
    except (binascii.Error, ValueError, TypeError) as error:
        problem = "not a token of this list; give `nextPageToken` of the page before, with the same namespace and phase, or nothing"
        raise SpecErrors([SpecError("pageToken", problem)]) from error
    return time, name, namespace


def _digest(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()[:12]
