"""Rules and values in words, for error messages and for the page of all fields."""

from __future__ import annotations

import difflib
import json
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from kubetuner.spec import schema

PATTERNS: Final = {
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": "lower-case letters, digits and '-', with a letter or digit first and last",
    "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$": "letters, digits, '-', '_' and '.', with a letter or digit first and last",
    "^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$": "letters, digits, '-', '_', '.' and '/', with a letter or digit first and last",
    "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$": "letters, digits, '.', '_' and '-', with a letter or digit first and last",
    "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$": "letters, digits, '.', '_' and '-', with a letter or digit first and last",
    "^[0-9a-f]{40}$": "40 hex digits",
    "^[0-9a-f]{64}$": "64 hex digits",
    "^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$": "WIDTHxHEIGHT in pixels, as 1024x768",
    "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": "lower-case letters, digits, '-' and '.', with a letter or digit first and last",
    "^[0-9]{1,6}([.][0-9]{1,3})?m?$": "a quantity of processors, as 4, 0.5 or 500m",
    "^[0-9]{1,16}([.][0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti)?$": "a quantity of bytes, as 16Gi",
    "^[0-9]{1,10}([.][0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti)?$": "a quantity of bytes, as 2Gi",
    "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$": "a resource's name, as nvidia.com/gpu",
}
_LONGEST: Final = 60


def shown(value: object) -> str:
    """A value as the user wrote it, cut where it is long."""
    if isinstance(value, float) and not isinstance(value, bool):
        return _number(value)
    if isinstance(value, str):
        cut = value if len(value) <= _LONGEST else value[: _LONGEST - 3] + "..."
        return json.dumps(cut, ensure_ascii=False)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 200 else "a number of more than 60 digits"
    return kind(value)


def kind(value: object) -> str:
    """What sort of JSON value it is, in words."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "a group of fields"
    return f"a {type(value).__name__}"


def expected(field: FieldDescriptor) -> str:
    """What sort of value the field (or one item of it) takes, in words."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return "text"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true or false"
    if field.type == FieldDescriptor.TYPE_INT32:
        return "a whole number"
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return "a number"
    return "a group of fields"


def allowed(rules: Any) -> str:
    """The rules of a scalar in words ("one of a, b", "from 1 to 1024", "at most 63 characters"); empty where there are none."""
    if rules is None:
        return ""
    if "const" in set_names(rules):
        return f"always {rules.const}"
    names = set_names(rules)
    if "in" in names:
        return "one of " + ", ".join(str(choice) for choice in getattr(rules, "in"))
    parts = [_bounds(rules)] if names & {"gt", "gte", "lt", "lte"} else []
    if "pattern" in names:
        parts.append(PATTERNS[rules.pattern])
    if "min_len" in names:
        parts.append("not empty" if rules.min_len == 1 else f"at least {rules.min_len} characters")
    if "max_len" in names:
        parts.append(f"at most {rules.max_len} characters")
    return "; ".join(parts)


def allowed_list(field: FieldDescriptor) -> str:
    """The rules of a list or a map in words; empty where there are none."""
    rules = schema.scalar_rules(field)
    if rules is None:
        return ""
    names = set_names(rules)
    parts = []
    if "min_items" in names:
        parts.append(f"at least {rules.min_items}")
    if "max_items" in names:
        parts.append(f"at most {rules.max_items} items")
    if "max_pairs" in names:
        parts.append(f"at most {rules.max_pairs} entries")
    if "items" in names:
        parts.append(f"each {allowed(schema.scalar_rules(field, item=True))}")
    return "; ".join(parts)


def set_names(rules: Any) -> set[str]:
    """Names of the rules that are set."""
    return {field.name for field, _ in rules.ListFields()}


def nearest(word: str, choices: list[str], cutoff: float = 0.6) -> str | None:
    """The choice most like the word, letter case and underscores apart; None where none is near."""
    plain = {squeezed(choice): choice for choice in reversed(choices)}
    found = difflib.get_close_matches(squeezed(word[:200]), list(plain), n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def squeezed(word: str) -> str:
    """A word without letter case, '_' and '-', so that learning_rate and learningRate are one."""
    return word.replace("_", "").replace("-", "").lower()


def _bounds(rules: Any) -> str:
    names = set_names(rules)
    if "gte" in names and "lte" in names:
        return f"from {_number(rules.gte)} to {_number(rules.lte)}"
    low = f"{_number(rules.gte)} or more" if "gte" in names else f"more than {_number(rules.gt)}" if "gt" in names else ""
    high = f"at most {_number(rules.lte)}" if "lte" in names else f"less than {_number(rules.lt)}" if "lt" in names else ""
    return " and ".join(part for part in (low, high) if part)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) < 1e15 and value == int(value) else repr(value)
