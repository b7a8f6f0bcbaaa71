"""Wrong and right runs by the thousand: a valid run with a few seeded changes, as JSON that a file or an API server could receive."""

from __future__ import annotations

import copy
import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from kubetuner.spec import schema
from kubetuner.spec.words import set_names
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec

TEXTS = ["a", "./x", "s3://b/c", "1024x1024", "99x100", "64x4096", "8x8", "x.safetensors", "a\n", "Ä"]
ODD: list[Any] = [
    "",
    "x",
    "1e-4",
    "4",
    True,
    False,
    0,
    1,
    -1,
    0.5,
    2**31,
    2**40,
    1e308,
    [],
    {},
    [1],
    ["a"],
    {"a": 1},
    [None],
    "é" * 9000,
]


def valid() -> dict[str, Any]:
    """A run that passes, with something in every group."""
    return {
        "apiVersion": "kubetuner.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": "run"},
        "spec": {
            "model": {"path": "models/sdxl", "vae": {"path": "models/vae"}},
            "datasets": [
                {
                    "id": "a",
                    "source": {"uri": "./a"},
                    "crop": True,
                    "cropAspect": "closest",
                    "cropAspectBuckets": [{"aspect": 1.0}, {"aspect": 1.5}],
                },
                {"id": "b", "source": {"uri": "./b"}, "captionStrategy": "instanceprompt", "instancePrompts": ["a cat"]},
                {"id": "c", "source": {"uri": "./c"}, "datasetType": "eval", "resolutionType": "area", "resolution": 0.5},
            ],
            "embed": {"text": {"cache": "eager"}, "vae": {"batchSize": 2}},
            "train": {
                "maxSteps": 10,
                "loss": {"type": "huber", "huberC": 0.2},
                "timesteps": {"biasStrategy": "range", "biasBegin": 10},
                "ema": {},
            },
            "evaluate": {"prompts": ["a camera"], "resolutions": ["1024x768"], "loss": {"numImages": 4}},
        },
    }


def mutated(seed: int) -> dict[str, Any]:
    """The valid run after one to four seeded changes."""
    rng = random.Random(seed)
    run = copy.deepcopy(valid())
    for _ in range(rng.randint(1, 4)):
        _change(run["spec"], TrainingRunSpec.DESCRIPTOR, rng)
    return run


def _change(at: Any, message: Any, rng: random.Random) -> None:
    while isinstance(at, dict):
        name, field = rng.choice(list(schema.fields(message).items()))
        if schema.is_message(field) and name in at and rng.random() < 0.85:
            below = at[name]
            if isinstance(below, list) and below and rng.random() < 0.9:
                below = rng.choice(below)
            if isinstance(below, dict):
                at, message = below, field.message_type
                continue
        roll = rng.random()
        if roll < 0.15:
            at.pop(name, None)
        elif roll < 0.2:
            at[rng.choice([name + "s", name.upper(), "extra"])] = 1
        elif roll < 0.25:
            at[name] = None
        elif roll < 0.45:
            at[name] = rng.choice(ODD)
        else:
            at[name] = likely(field, rng)
        return


def likely(field: FieldDescriptor, rng: random.Random) -> Any:
    """A value of the field's kind: a choice of it, its bounds and their neighbours, or another number or text."""
    if schema.is_list(field):
        return [_single(field, schema.scalar_rules(field, item=True), rng) for _ in range(rng.choice([0, 1, 2, 3, 70]))]
    return _single(field, schema.scalar_rules(field), rng)


def _single(field: FieldDescriptor, rules: Any, rng: random.Random) -> Any:
    if schema.is_message(field):
        known = schema.fields(field.message_type)
        return {name: likely(child, rng) for name, child in known.items() if rng.random() < 0.4}
    names = set_names(rules) if rules is not None else set()
    if field.type == FieldDescriptor.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_STRING:
        choices = list(getattr(rules, "in")) if "in" in names else TEXTS
        return rng.choice(choices) if rng.random() < 0.95 else "other"
    bounds = [getattr(rules, name) for name in names & {"gt", "gte", "lt", "lte"}]
    numbers = [0, 1, 2, 10, 512, 1024, *bounds, *(bound + 1 for bound in bounds), *(bound - 1 for bound in bounds)]
    value = rng.choice(numbers)
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return rng.choice([float(value), 0.5, 1.5, float(value) * 0.999])
    return int(value)
