"""import_config: two files in, a checked TrainingRun and the list of what it cannot say out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubetuner.errors import InputError
from kubetuner.spec.load import parse_run
from kubetuner.spec.simpletuner import datasets, evaluation, tables, training
from kubetuner.spec.simpletuner.source import Keys, NotCarried, read_json
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A SimpleTuner set-up as a run."""

    run: TrainingRun
    """The run; it has passed every check."""
    carried: tuple[str, ...]
    """Keys that the run says, or that hold what is always so here."""
    not_carried: tuple[NotCarried, ...]
    """Keys that the run does not say, or says otherwise, each with the reason and what to do."""


def import_config(config: Path, backend: Path | None = None, environment: Mapping[str, str] = os.environ) -> Imported:
    """SimpleTuner's `config.json` and its data backends as a run.

    `backend` is the second file; without it `data_backend_config` names it, relative to the first file's folder or to that one's parent.
    `environment` fills `{env:VAR}`. Raises InputError where a file cannot be read, a value cannot be understood, or the run breaks a rule.
    """
    values = read_json(config)
    if not isinstance(values, dict):
        raise InputError(f"{config}: not SimpleTuner's config.json: an object of options is expected")
    keys = Keys(config.name, values, environment)
    named = keys.text("data_backend_config")
    path = backend or _find(config, named or "multidatabackend.json")
    entries = _entries(path, environment)
    seed, name = keys.whole("seed"), _name(keys, config)
    spec: Json = {"seed": seed, "model": training.model(keys, config.parent), "train": training.train(keys), "embed": training.embed(keys)}
    found = datasets.convert(entries, datasets.globals_of(keys), spec["train"]["batchSize"], config.parent)
    spec["datasets"] = found.datasets
    spec["embed"]["text"]["writeBatchSize"] = found.write_batch_size or spec["embed"]["text"]["writeBatchSize"]
    held_out = any(dataset["datasetType"] == "eval" and not dataset["disabled"] for dataset in found.datasets)
    spec["evaluate"] = evaluation.evaluate(keys, config.parent, held_out=held_out)
    keys.settle(tables.CONFIG)
    for entry in entries:
        entry.settle(tables.DATASET)
    document = {"apiVersion": "kubetuner.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": name}, "spec": spec}
    return Imported(
        run=parse_run(_without_nothing(document)),
        carried=tuple(label for part in (keys, *entries) for label in part.carried),
        not_carried=tuple(item for part in (keys, *entries) for item in part.not_carried),
    )


def _find(config: Path, name: str) -> Path:
    """The data backends' file: as named, or by its name beside the config, in its folder's parent, or in the working folder."""
    tried = [config.parent / name, config.parent.parent / name, Path(name), config.parent / Path(name).name]
    found = next((path for path in tried if os.path.isfile(path)), None)
    if found is None:
        raise InputError(
            f"{config.name}: data_backend_config: {name} is not beside {config} nor in the folder above; give it as the second file"
        )
    return found


def _entries(path: Path, environment: Mapping[str, str]) -> list[Keys]:
    values = read_json(path)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InputError(f"{path}: not SimpleTuner's data backends: a list of objects is expected")
    return [Keys(f"{path.name}[{index}]", value, environment) for index, value in enumerate(values)]


def _name(keys: Keys, config: Path) -> str:
    """A name for the run: the last part of output_dir, else the config's folder."""
    folder = keys.text("output_dir")
    text = Path(folder).name if folder else config.absolute().parent.name
    return re.sub(r"[^a-z0-9-]+", "-", text.lower())[:45].strip("-") or "imported"


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nothing(item) for name, item in value.items() if item is not None}
    return [_without_nothing(item) for item in value] if isinstance(value, list) else value
