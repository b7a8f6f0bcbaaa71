"""A run with every default filled in: the only place where a default depends on another field.

In: a TrainingRun that passed the checks. Out: a copy in which every field is set, so that stages read plain values. Resolving twice changes
nothing, and a resolved run passes the checks again.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message

from kubetuner.spec import document, schema
from kubetuner.v1alpha1.training_run_pb2 import Dataset, TrainingRun, TrainingRunSpec

_LEARNING_RATE: Final = {"lora": 1e-4, "full": 1e-5}


def resolve(run: TrainingRun) -> TrainingRun:
    """A copy of the run with every default filled; messages that switch something on (ema, lora, vae) stay as given."""
    resolved = TrainingRun()
    resolved.CopyFrom(run)
    resolve_spec(resolved.spec)
    return resolved


def resolve_spec(spec: TrainingRunSpec) -> None:
    """Fill the defaults of a spec in place."""
    if not spec.train.HasField("type") or spec.train.type == "lora":
        spec.train.lora.SetInParent()
    _fill(spec)
    _fill_train(spec)
    for dataset in spec.datasets:
        _fill_dataset(dataset)
    if not spec.evaluate.HasField("seed"):
        spec.evaluate.seed = spec.seed


def to_json(message: Message) -> dict[str, Any]:
    """The CR form of a message: camelCase, only what is set, in the order of the proto."""
    found: dict[str, Any] = json_format.MessageToDict(message)
    return found


def to_yaml(run: Message) -> str:
    """A message as YAML that `load_run` reads back equal."""
    return document.write(to_json(run))


def _fill(message: Any) -> None:
    """Set every unset field that declares a default, and go into every message below, making those that are absent."""
    for field in schema.fields(message.DESCRIPTOR).values():
        if schema.is_message(field):
            if schema.is_list(field):
                for item in getattr(message, field.name):
                    _fill(item)
            elif message.HasField(field.name) or not schema.is_switch(field):
                child = getattr(message, field.name)
                child.SetInParent()
                _fill(child)
            continue
        value = schema.default(field)
        if value is None:
            continue
        if field.is_repeated:
            if not getattr(message, field.name):
                getattr(message, field.name).extend(value)
        elif not message.HasField(field.name):
            setattr(message, field.name, value)


def _fill_train(spec: TrainingRunSpec) -> None:
    train = spec.train
    if not train.optimizer.HasField("learning_rate"):
        train.optimizer.learning_rate = _LEARNING_RATE[train.type]
    if train.HasField("lora") and not train.lora.HasField("alpha"):
        train.lora.alpha = train.lora.rank


def _fill_dataset(dataset: Dataset) -> None:
    if not dataset.HasField("resolution"):
        dataset.resolution = 1.0 if dataset.resolution_type == "area" else 1024.0
    if dataset.crop_style == "center":
        dataset.crop_style = "centre"
