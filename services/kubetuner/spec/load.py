"""A TrainingRun from a file or a document: YAML, `--set`, names and kinds, rules. Every fault of a step is told at once, with its path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from kubetuner.errors import SpecErrors
from kubetuner.spec import document, override, schema, shape, validate
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun


def load_run(path: Path, overrides: Sequence[str] = ()) -> TrainingRun:
    """The run in a YAML (or JSON) file with `--set` overrides applied; InputError says what is wrong."""
    run = document.read(path)
    override.apply(run, overrides)
    return parse_run(run)


def parse_run(run: dict[str, Any]) -> TrainingRun:
    """The run in a document of plain values, checked against the whole schema. `status` is the controller's and not read.

    Raises SpecErrors: with unknown names and wrong kinds of value, and the broken rules of the rest.
    """
    shaped, errors = shape.check({name: value for name, value in run.items() if name != "status"}, schema.of(TrainingRun))
    message = json_format.ParseDict(shaped, TrainingRun())
    broken = validate.violations(message)
    if errors:  # what a wrong field hides is not missing, and rules across fields cannot be judged without it
        broken = [error for error in broken if not _is_hidden(error.path, [known.path for known in errors])]
    if errors or broken:
        raise SpecErrors(errors + broken)
    return message


def _is_hidden(path: str, wrong: list[str]) -> bool:
    return any(place.startswith(path) or path.startswith(place) for place in wrong)
