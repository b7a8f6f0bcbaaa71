"""A parsed run against every rule of the schema, all at once, with the field's path, what was given, and the rule in words.

The engine (protovalidate) is imported on the first check only: `kubetuner --help` needs neither it nor protobuf.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from kubetuner.errors import SpecError, SpecErrors
from kubetuner.spec import schema
from kubetuner.spec.words import allowed, kind, nearest, set_names, shown

_NAMED = re.compile(r"\b[a-z][a-zA-Z0-9]*\b")


def check(message: Message, prefix: str = "") -> None:
    """Raise SpecErrors with every violation; `prefix` stands before the paths (`spec` for a TrainingRunSpec)."""
    errors = violations(message, prefix)
    if errors:
        raise SpecErrors(errors)


def violations(message: Message, prefix: str = "") -> list[SpecError]:
    """Every broken rule of the message, in the order of the schema."""
    import protovalidate

    return [_explain(found, message, prefix) for found in protovalidate.collect_violations(message)]


def _explain(found: Any, message: Message, prefix: str) -> SpecError:
    proto = found.proto
    path, holder, field = _walk(message, list(proto.field.elements) if proto.field else [], prefix)
    if proto.rule and proto.rule.elements:
        steps = [element.field_name for element in proto.rule.elements]
        if steps[0] == "required":
            return SpecError(path, _required(field))
        if "cel" not in steps:
            return SpecError(path, _standard(found.field_value, field, proto))
    return _across(proto, path, holder, field, found.field_value)


def _walk(message: Message, elements: list[Any], prefix: str) -> tuple[str, Any, FieldDescriptor | None]:
    """The CR path of a violation, the message it stands in (or is about), and the field."""
    path, holder = prefix, message
    at: Any = message
    field: FieldDescriptor | None = None
    for element in elements:
        field = at.DESCRIPTOR.fields_by_name[element.field_name]
        path = f"{path}.{field.json_name}" if path else field.json_name
        holder = at
        value: Any = getattr(at, element.field_name)
        if element.subscript is not None:
            key = element.subscript.value
            path += f"[{key}]" if isinstance(key, int) else f".{key}"
            value = value[key]
        at = value if isinstance(value, Message) else at
        holder = at if isinstance(value, Message) else holder
    return path, holder, field


def _required(field: FieldDescriptor | None) -> str:
    assert field is not None
    names = ", ".join(list(schema.fields(field.message_type))[:4]) if field.message_type else ""
    return f"missing; it must be given{f' (it holds {names}, ...)' if names else ''}"


def _standard(value: Any, field: FieldDescriptor | None, proto: Any) -> str:
    """Words for a rule on one field: the whole of its rules, not only the one that broke, so that one correction is enough."""
    assert field is not None
    steps = [element.field_name for element in proto.rule.elements]
    item = steps[:2] == ["repeated", "items"]
    if steps[0] in ("repeated", "map") and not item:
        return _size(value, field, steps[-1])
    rules = schema.scalar_rules(field, item=item)
    assert rules is not None
    given = f"{shown(value)} given" if value != "" else "empty or not given"
    if "in" in set_names(rules):
        choices = [str(choice) for choice in getattr(rules, "in")]
        near = nearest(str(value), choices)
        return f"{given}; must be {allowed(rules)}{f'; did you mean {near}?' if near and len(choices) > 1 else ''}"
    if steps[-1] in ("min_len", "max_len") and value != "":
        return f"{len(value)} characters given; must be {allowed(rules)}"
    return f"{given}; must be {allowed(rules)}"


def _size(value: Any, field: FieldDescriptor, rule: str) -> str:
    limits = schema.scalar_rules(field)
    assert limits is not None
    count = len(value) if value is not None else 0
    word = "entries" if rule == "max_pairs" else "items"
    limit = getattr(limits, rule)
    return f"{count} {word} given; must be {'at least' if rule == 'min_items' else 'at most'} {limit}"


def _across(proto: Any, path: str, holder: Any, field: FieldDescriptor | None, value: Any) -> SpecError:
    """Words for a rule across fields, and the path of the first field that its message names and the user gave."""
    if field is not None and schema.is_list(field) and not path.endswith("]"):
        given = "" if schema.is_message(field) else f"[{', '.join(map(shown, value))}] given; "
        return SpecError(path, given + proto.message)
    if field is not None and field.message_type is None:
        return SpecError(path, f"{shown(value)} given; {proto.message}")
    named = [name for name in dict.fromkeys(_NAMED.findall(proto.message)) if name in schema.fields(holder.DESCRIPTOR)]
    given_fields = [name for name in named if _is_given(holder, schema.fields(holder.DESCRIPTOR)[name])]
    values = ", ".join(f"{name}: {_brief(holder, schema.fields(holder.DESCRIPTOR)[name])}" for name in given_fields)
    place = f"{path}.{given_fields[0]}" if given_fields else path
    return SpecError(place, f"{proto.message}{f' (given {values})' if values else ''}")


def _is_given(holder: Any, field: FieldDescriptor) -> bool:
    return holder.HasField(field.name) if field.has_presence else bool(getattr(holder, field.name))


def _brief(holder: Any, field: FieldDescriptor) -> str:
    value = getattr(holder, field.name)
    if schema.is_list(field):
        return kind(list(value))
    return kind({}) if isinstance(value, Message) else str(value).lower() if isinstance(value, bool) else shown(value)
