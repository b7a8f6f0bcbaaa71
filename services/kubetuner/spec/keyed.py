"""What of a resolved message goes into fingerprints.

In: a message of the schema with its defaults filled. Out: its JSON without the fields that change no result, and without those that hold
their declared default: a field that a later version adds with a default so changes no key of today.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from kubetuner.spec import schema
from kubetuner.spec.resolve import to_json


def keyed(message: Message) -> dict[str, Any]:
    """JSON of the message for fingerprints. Defaults that depend on other fields are kept as values."""
    return _reduced(message, to_json(message))


def _reduced(message: Any, found: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, field in schema.fields(message.DESCRIPTOR).items():
        if name not in found or schema.is_unkeyed(field):
            continue
        value = found[name]
        if not schema.is_message(field):
            if value != schema.default(field):
                kept[name] = value
        elif schema.is_list(field):
            kept[name] = [_reduced(item, value[index]) for index, item in enumerate(getattr(message, field.name))]
        elif (below := _reduced(getattr(message, field.name), value)) or schema.is_switch(field):
            kept[name] = below
    return kept
