"""The schema as the proto's descriptors tell it: fields by their name in the CR, defaults, rules. No other file reads their options.

In: a descriptor of `training_run.proto`. Out: plain answers, so that nobody else needs to know protobuf's option machinery.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from kubetuner.v1alpha1 import options_pb2

Json = Any

WELL_KNOWN = frozenset({"google.protobuf.Timestamp", "google.protobuf.Struct"})
_OPTIONS: Any = options_pb2  # the stubs of extensions are plain descriptors, which the typed `Extensions[...]` does not take
_VALIDATE: Any = validate_pb2


def of(message: type[Message] | Message) -> Descriptor:
    """The descriptor of a message."""
    return cast(Descriptor, message.DESCRIPTOR)


def below(field: FieldDescriptor) -> Descriptor:
    """The message of a field that holds one."""
    assert field.message_type is not None
    return field.message_type


def entry(field: FieldDescriptor) -> FieldDescriptor:
    """The values' field of a map."""
    return below(field).fields_by_name["value"]


@cache
def fields(message: Descriptor) -> dict[str, FieldDescriptor]:
    """The fields of a message by their name in the CR (camelCase), in the order of the proto."""
    return {field.json_name: field for field in message.fields}


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def is_list(field: FieldDescriptor) -> bool:
    """Whether the field is a list, and no map."""
    return field.is_repeated and not is_map(field)


def is_message(field: FieldDescriptor) -> bool:
    """Whether the field (or an item of it) is a message of our own."""
    return field.message_type is not None and not is_map(field) and field.message_type.full_name not in WELL_KNOWN


@cache
def default(field: FieldDescriptor) -> Json | None:
    """The declared default as JSON, or None where there is none."""
    options = field.GetOptions()
    if not options.HasExtension(_OPTIONS.default):
        return None
    text: str = options.Extensions[_OPTIONS.default]
    if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated and not text.startswith('"'):
        return text
    value = json.loads(text)
    if field.type != FieldDescriptor.TYPE_DOUBLE:
        return value
    return [float(item) for item in value] if field.is_repeated else float(value)


@cache
def is_unkeyed(field: FieldDescriptor) -> bool:
    """Whether the field is left out of fingerprints."""
    return bool(field.GetOptions().Extensions[_OPTIONS.unkeyed])


@cache
def is_switch(field: FieldDescriptor) -> bool:
    """Whether the presence of this message means something, so that it is never filled in."""
    return bool(field.GetOptions().Extensions[_OPTIONS.switch])


@cache
def map_key(field: FieldDescriptor) -> str:
    """The item's field that tells the items of a list apart, or an empty string."""
    return str(field.GetOptions().Extensions[_OPTIONS.map_key])


@cache
def rules(field: FieldDescriptor) -> Any:
    """The field's `buf.validate.FieldRules`; empty where there are none."""
    return field.GetOptions().Extensions[_VALIDATE.field]


@cache
def message_rules(message: Descriptor) -> Any:
    """The message's `buf.validate.MessageRules`: its CEL across fields."""
    return message.GetOptions().Extensions[_VALIDATE.message]


def scalar_rules(field: FieldDescriptor, *, item: bool = False) -> Any:
    """The rules of the field's own type (StringRules, Int32Rules, ...), of its items with `item`; None where there are none."""
    found = rules(field)
    if item:
        found = found.repeated.items
    kind = found.WhichOneof("type")
    return getattr(found, kind) if kind else None


@cache
def paths(root: Descriptor, prefix: str = "") -> tuple[tuple[str, str], ...]:
    """(name, path) of every field below a message, as ("rank", "spec.train.lora.rank") or ("crop", "spec.datasets[].crop")."""
    found: list[tuple[str, str]] = []
    for name, field in fields(root).items():
        path = f"{prefix}.{name}" if prefix else name
        found.append((name, path))
        if is_message(field):
            found.extend(paths(below(field), f"{path}[]" if is_list(field) else path))
    return tuple(found)
