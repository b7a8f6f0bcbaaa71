"""`--set path=value`: puts single values into a run's document.

In: a document and texts as `train.maxSteps=10`, `spec.datasets[0].crop=false`, `metadata.name=trial`. The value is YAML; an empty one
takes the field away. The document is changed in place; a text that cannot be read is an InputError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from kubetuner.errors import InputError
from kubetuner.spec import document
from kubetuner.spec.words import kind

_STEP: Final = re.compile(r"(?:^|\.)([A-Za-z_][A-Za-z0-9_/-]*)|\[([0-9]{1,4})\]")
_ROOTS: Final = ("spec", "metadata")


def apply(run: dict[str, Any], overrides: Sequence[str]) -> None:
    """Set each override in turn."""
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: no '='; write it as path=value, as train.maxSteps=10")
        _set(run, _steps(path.strip(), text), document.parse(value, f"--set {text}"), text)


def _steps(path: str, text: str) -> list[str | int]:
    """The names and indices of a path, from the document's root."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise InputError(f"--set {text}: cannot read the path at {path[at:]!r}; write it as datasets[0].crop=true")
        steps.append(int(step[2]) if step[2] is not None else step[1])
        at = step.end()
    if not steps or isinstance(steps[0], int):
        raise InputError(f"--set {text}: no field named; write it as path=value, as train.maxSteps=10")
    return steps if steps[0] in _ROOTS else ["spec", *steps]


def _set(run: dict[str, Any], steps: list[str | int], value: Any, text: str) -> None:
    at: Any = run
    for place, step in enumerate(steps):
        last = place == len(steps) - 1
        fresh: Any = value if last else [] if isinstance(steps[place + 1], int) else {}
        _check(at, step, _spelled(steps[:place]), text)
        if isinstance(at, list):
            if step == len(at):
                at.append(fresh)
            elif last or at[int(step)] is None:
                at[int(step)] = fresh
        elif last or at.get(step) is None:
            at[step] = fresh
        if not last:
            at = at[step]


def _check(at: Any, step: str | int, where: str, text: str) -> None:
    if isinstance(step, int):
        if not isinstance(at, list):
            raise InputError(f"--set {text}: {where} holds {kind(at)}, not a list")
        if step > len(at):
            raise InputError(f"--set {text}: {where} has {len(at)} items; the next one is [{len(at)}]")
    elif not isinstance(at, dict):
        raise InputError(f"--set {text}: {where} holds {kind(at)}, not fields")


def _spelled(steps: list[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".") or "the run"
