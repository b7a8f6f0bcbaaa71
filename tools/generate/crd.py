"""The CustomResourceDefinition of TrainingRun, from descriptors, rules and comments.

No defaults stand in it: the rules ask what was given, and `spec/resolve.py` fills the rest. Every text, list and map has a bound, since the
API server refuses rules whose worst case it cannot estimate.
"""

from __future__ import annotations

from typing import Any

import yaml
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kubetuner.spec import schema
from kubetuner.spec.words import set_names
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun
from tools.generate import cel

Json = dict[str, Any]
_HEAD = "# Made by `make generate` from proto/kubetuner/v1alpha1/training_run.proto. Do not edit.\n"
_INT32 = 2**31
_COLUMNS: list[Json] = [
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Stage", "type": "string", "jsonPath": ".status.stage"},
    {"name": "Step", "type": "string", "jsonPath": ".status.progress.step"},
    {"name": "Loss", "type": "number", "jsonPath": ".status.progress.figures.loss"},
    {"name": "ETA", "type": "string", "jsonPath": ".status.progress.eta", "description": "Time left of the stage"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Queue", "type": "string", "jsonPath": ".spec.queue", "priority": 1},
    {"name": "Images", "type": "integer", "jsonPath": ".status.images", "priority": 1},
    {"name": "GPU-Seconds", "type": "number", "jsonPath": ".status.gpuSeconds", "priority": 1},
    {"name": "Checkpoint", "type": "string", "jsonPath": ".status.artifacts.checkpoint", "priority": 1},
    {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
]
_BEGUN = "has(oldSelf.status) && has(oldSelf.status.stages) && size(oldSelf.status.stages) > 0"
_SUSPENDED = "(has(oldSelf.spec.suspend) && oldSelf.spec.suspend || has(self.spec.suspend) && self.spec.suspend)"


def render(comments: dict[str, str]) -> str:
    """The CRD as YAML."""
    text: str = yaml.dump(_definition(comments), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=140)
    return _HEAD + text


class _Plain(yaml.SafeDumper):
    """Writes equal values out each time."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _definition(comments: dict[str, str]) -> Json:
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": _COLUMNS,
        "selectableFields": [{"jsonPath": ".status.phase"}],
        "schema": {"openAPIV3Schema": _root(comments)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "trainingruns.kubetuner.dev"},
        "spec": {
            "group": "kubetuner.dev",
            "names": {
                "kind": "TrainingRun",
                "listKind": "TrainingRunList",
                "plural": "trainingruns",
                "singular": "trainingrun",
                "shortNames": ["truns"],
                "categories": ["kubetuner"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _root(comments: dict[str, str]) -> Json:
    """The root: apiVersion, kind and metadata are Kubernetes' own, of which only the name may be bounded."""
    found = _message(schema.of(TrainingRun), comments)
    name = schema.below(schema.fields(schema.of(TrainingRun))["metadata"]).fields_by_name["name"]
    found["properties"]["apiVersion"] = {"type": "string"}
    found["properties"]["kind"] = {"type": "string"}
    found["properties"]["metadata"] = {"type": "object", "properties": {"name": _bounds(name, schema.scalar_rules(name))}}
    found["required"] = ["spec"]
    found["x-kubernetes-validations"] = found.get("x-kubernetes-validations", []) + _changes()
    return found


def _changes() -> list[Json]:
    """Rules about changes, which only a cluster knows: what a run works by stays, cancel is for good."""
    cancelled = "!(has(oldSelf.spec.cancel) && oldSelf.spec.cancel) || has(self.spec.cancel) && self.spec.cancel"
    rules = [{"rule": cancelled, "message": "spec.cancel cannot be taken back; make a new run"}]
    for name in ("model", "datasets", "embed", "train", "evaluate", "managedBy"):
        message = f"spec.{name} cannot change once the run has begun; make a new run"
        rules.append({"rule": f"!({_BEGUN}) || {_same(name)}", "message": message})
    for name in ("queue", "compute"):
        message = f"spec.{name} changes only while the run is suspended"
        rules.append({"rule": f"!({_BEGUN}) || {_SUSPENDED} || {_same(name)}", "message": message})
    return rules


def _same(name: str) -> str:
    return f"(has(self.spec.{name}) == has(oldSelf.spec.{name}) && (!has(self.spec.{name}) || self.spec.{name} == oldSelf.spec.{name}))"


def _message(message: Descriptor, comments: dict[str, str]) -> Json:
    found: Json = {"description": comments[message.full_name], "type": "object"}
    required = [name for name, field in schema.fields(message).items() if is_required(field)]
    if required:
        found["required"] = required
    if rules := _rules(schema.message_rules(message).cel):
        found["x-kubernetes-validations"] = rules
    found["properties"] = {name: _field(field, comments) for name, field in schema.fields(message).items()}
    return found


def _field(field: FieldDescriptor, comments: dict[str, str]) -> Json:
    if schema.is_map(field):
        limits = schema.scalar_rules(field)
        found: Json = {"type": "object", "additionalProperties": _scalar(schema.entry(field))}
        if limits is not None and "max_pairs" in set_names(limits):
            found["maxProperties"] = limits.max_pairs
    elif schema.is_list(field):
        found = _list(field, comments)
    else:
        found = _item(field, comments, schema.scalar_rules(field))
    if rules := _rules(schema.rules(field).cel):
        found["x-kubernetes-validations"] = found.get("x-kubernetes-validations", []) + rules
    return {"description": _description(field, comments), **{key: value for key, value in found.items() if key != "description"}}


def _list(field: FieldDescriptor, comments: dict[str, str]) -> Json:
    limits = schema.scalar_rules(field)
    assert limits is not None, f"{field.full_name}: a list needs max_items"
    assert limits.HasField("max_items"), f"{field.full_name}: a list needs max_items, or the API server refuses rules over it"
    items = _item(field, comments, schema.scalar_rules(field, item=True))
    if rules := _rules(limits.items.cel):
        items["x-kubernetes-validations"] = rules
    found: Json = {"type": "array", "maxItems": limits.max_items, "items": items}
    if limits.min_items:
        found["minItems"] = limits.min_items
    if key := schema.map_key(field):
        found |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    else:
        found["x-kubernetes-list-type"] = "atomic"
    return found


def _item(field: FieldDescriptor, comments: dict[str, str], rules: Any) -> Json:
    if schema.is_message(field):
        return _message(schema.below(field), comments)
    return _scalar(field) | _bounds(field, rules)


def _scalar(field: FieldDescriptor) -> Json:
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            return {"type": "string", "format": "date-time"}
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    kinds: dict[int, Json] = {
        FieldDescriptor.TYPE_STRING: {"type": "string"},
        FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
        FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32", "minimum": -_INT32, "maximum": _INT32 - 1},
        FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    }
    return dict(kinds[field.type])


def _bounds(field: FieldDescriptor, rules: Any) -> Json:
    """The rules of a scalar as OpenAPI says them."""
    found = _scalar(field)
    if rules is None:
        return found
    names = set_names(rules)
    if "const" in names:
        found["enum"] = [rules.const]
    if "in" in names:
        found["enum"] = list(getattr(rules, "in"))
    for ours, theirs, exclusive in (
        ("gte", "minimum", False), ("gt", "minimum", True), ("lte", "maximum", False), ("lt", "maximum", True),
    ):  # fmt: skip
        if ours in names:
            found[theirs] = getattr(rules, ours)
            if exclusive:
                found[f"exclusive{theirs.capitalize()}"] = True
    for ours, theirs in (("min_len", "minLength"), ("max_len", "maxLength"), ("pattern", "pattern")):
        if ours in names:
            found[theirs] = getattr(rules, ours)
    unknown = names - {"const", "in", "gte", "gt", "lte", "lt", "min_len", "max_len", "pattern"}
    assert not unknown, f"{field.full_name}: the CRD cannot say {unknown}"
    return found


def is_required(field: FieldDescriptor) -> bool:
    """Whether an object without the field breaks a rule of the proto: it says so, or the empty value of a field without presence does."""
    if schema.rules(field).required:
        return True
    rules = schema.scalar_rules(field)
    if field.has_presence or rules is None:
        return False
    names = set_names(rules)
    if field.is_repeated:
        return "min_items" in names
    if field.type == FieldDescriptor.TYPE_STRING:
        return bool(rules.min_len) or "pattern" in names or ("in" in names and "" not in getattr(rules, "in")) or "const" in names
    return ("gte" in names and rules.gte > 0) or ("gt" in names and rules.gt >= 0)


def _rules(found: Any) -> list[Json]:
    return [{"rule": cel.for_kubernetes(rule.expression), "message": rule.message} for rule in found]


def _description(field: FieldDescriptor, comments: dict[str, str]) -> str:
    value = schema.default(field)
    shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else value
    return comments[field.full_name] + (f" Default: {shown}." if value is not None and "Default:" not in comments[field.full_name] else "")
