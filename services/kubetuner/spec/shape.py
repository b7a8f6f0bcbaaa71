"""A document against the schema's shape: names and kinds of value, before any rule.

In: the dict of a run, as from YAML. Out: a dict that protobuf parses without complaint, and a SpecError for each part left out of it:
unknown names (with the nearest one that exists), wrong kinds of value, numbers that are no numbers.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kubetuner.errors import SpecError
from kubetuner.spec import schema
from kubetuner.spec.words import expected, kind, nearest, shown, squeezed

_INT32: Final = 2**31
OF_THE_SERVER: Final = frozenset({
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName", "generation", "managedFields",
    "ownerReferences", "resourceVersion", "selfLink", "uid",
})  # fmt: skip
"""Metadata that an API server adds; a run that was read from a cluster carries it, and it says nothing here."""


def check(document: dict[str, Any], root: Descriptor) -> tuple[dict[str, Any], list[SpecError]]:
    """The part of the document that has the schema's shape, and what is wrong with the rest."""
    errors: list[SpecError] = []
    return _message(document, root, root, "", errors), errors


def _message(value: dict[Any, Any], message: Descriptor, root: Descriptor, path: str, errors: list[SpecError]) -> dict[str, Any]:
    known = schema.fields(message)
    kept: dict[str, Any] = {}
    for name, item in value.items():
        place = f"{path}.{name}" if path else str(name)
        if path == "metadata" and name in OF_THE_SERVER:
            continue
        field = known.get(name) if isinstance(name, str) else None
        if field is None:
            errors.append(SpecError(place[:200], _unknown(str(name), message, root, path)))
        elif item is not None:  # null is "not given", as in Kubernetes
            found = _field(item, field, root, place, errors)
            if found is not None:
                kept[name] = found
    return kept


def _field(value: Any, field: FieldDescriptor, root: Descriptor, path: str, errors: list[SpecError]) -> Any | None:
    if schema.is_map(field):
        return _map(value, field, root, path, errors)
    if not schema.is_list(field):
        return _single(value, field, root, path, errors)
    if not isinstance(value, list):
        errors.append(SpecError(path, f"{shown(value)} is {kind(value)}, but a list is expected; write it as [{_example(value)}]"))
        return None
    longest = schema.scalar_rules(field).max_items
    if len(value) > longest:  # told here, since YAML's aliases can make a list of lists very long
        errors.append(SpecError(path, f"{len(value)} items given; must be at most {longest}"))
        return None
    found = [_single(item, field, root, f"{path}[{index}]", errors) for index, item in enumerate(value)]
    return None if any(item is None for item in found) else found


def _map(value: Any, field: FieldDescriptor, root: Descriptor, path: str, errors: list[SpecError]) -> Any | None:
    if not isinstance(value, dict):
        errors.append(SpecError(path, f"{_given(value)}, but names with values are expected"))
        return None
    item = schema.entry(field)
    kept: dict[str, Any] = {}
    for name, entry in value.items():
        if not isinstance(name, str):
            errors.append(SpecError(path, f"the name {shown(name)} is {kind(name)}, but text is expected; quote it"))
            continue
        found = _single(entry, item, root, f"{path}.{name[:100]}", errors)
        if found is not None:
            kept[name] = found
    return kept


def _single(value: Any, field: FieldDescriptor, root: Descriptor, path: str, errors: list[SpecError]) -> Any | None:
    if field.message_type is not None:
        if not isinstance(value, dict):
            errors.append(SpecError(path, f"{_given(value)}, but a group of fields is expected{_of(field)}"))
            return None
        return _message(value, schema.below(field), root, path, errors)
    problem = _problem(value, field)
    if problem:
        errors.append(SpecError(path, problem))
        return None
    return int(value) if field.type == FieldDescriptor.TYPE_INT32 else value


def _problem(value: Any, field: FieldDescriptor) -> str:
    """What keeps the value from being the field's; empty where nothing does."""
    if field.type == FieldDescriptor.TYPE_STRING:
        if not isinstance(value, str):
            cure = f"; write it in quotes: '{_plain(value)}'" if isinstance(value, bool | int | float) else ""
            return f"{_given(value)}, but text is expected{cure}"
        return "" if _is_encodable(value) else "holds a character that cannot be stored (NUL or half of a pair)"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "" if isinstance(value, bool) else f"{_given(value)}, but true or false is expected{_unquote(value, ('true', 'false'))}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{_given(value)}, but {expected(field)} is expected{_number_cure(value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no number to work with; give a finite one"
    if field.type == FieldDescriptor.TYPE_INT32:
        if value != int(value):
            return f"{shown(value)} is not whole, but a whole number is expected"
        return "" if -_INT32 <= value < _INT32 else f"{shown(value)} is too large: at most {_INT32 - 1} is possible"
    return "" if abs(value) <= sys.float_info.max else f"{shown(value)} is too large"


def _unknown(name: str, message: Descriptor, root: Descriptor, path: str) -> str:
    """The message for a name that does not exist, with the nearest that does: at its own level when like enough, else anywhere."""
    level = list(schema.fields(message))
    here = nearest(name, level, cutoff=0.8)
    if here is None:
        elsewhere = [place for known, place in schema.paths(root) if squeezed(known) == squeezed(name) and not place.startswith("status")]
        if elsewhere:
            ranked = sorted(elsewhere, key=lambda place: -_shared(place, path))[:2]
            return f"no such field; did you mean {' or '.join(_indexed(place, path) for place in ranked)}?"
        here = nearest(name, level)
    if here is not None:
        return f"no such field; did you mean {here}?"
    return f"no such field; here are {', '.join(level)}"


def _shared(place: str, path: str) -> int:
    ours = _indexed(place, path)
    return next((index for index, (a, b) in enumerate(zip(ours, path, strict=False)) if a != b), min(len(ours), len(path)))


def _indexed(place: str, path: str) -> str:
    """A schema path with the list indices of the path at hand, [0] where it has none."""
    if "[]" not in place:
        return place
    head, _, tail = place.partition("[]")
    index = path[len(head) :].partition("]")[0] + "]" if path.startswith(f"{head}[") else "[0]"
    return f"{head}{index}{tail}"


def _given(value: Any) -> str:
    return f"{shown(value)} is {kind(value)}" if isinstance(value, str | bool | int | float) else kind(value)


def _number_cure(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return f"; write {value.strip()} without quotes"


def _unquote(value: Any, words: tuple[str, ...]) -> str:
    return f"; write {value.lower()} without quotes" if isinstance(value, str) and value.lower() in words else ""


def _example(value: Any) -> str:
    return _plain(value) if isinstance(value, str | bool | int | float) and len(str(value)) < 40 else "..."


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _of(field: FieldDescriptor) -> str:
    names = list(schema.fields(schema.below(field)))
    return f" ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else ""


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
