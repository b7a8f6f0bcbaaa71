"""The page of all fields of a run: path, kind, default, what is allowed, meaning, and the rules across fields."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kubetuner.spec import schema
from kubetuner.spec.words import allowed, allowed_list, expected
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun
from tools.generate.crd import is_required

_HEAD = """# All fields of a TrainingRun

Made by `make generate` from `proto/kubetuner/v1alpha1/training_run.proto`; do not edit. The same rules are checked by `kubetuner validate`,
by every service, and by the API server at `kubectl apply`. Fields without a default may be left out unless they are marked *required*.
"""


def render(comments: dict[str, str]) -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for root in ("metadata", "spec"):
        parts.extend(_sections(schema.below(schema.fields(schema.of(TrainingRun))[root]), root, comments))
    return "\n".join(parts)


def _sections(message: Descriptor, path: str, comments: dict[str, str]) -> list[str]:
    table = ["| Field | Kind | Default | Allowed | Meaning |", "|---|---|---|---|---|"]
    lines = [f"## `{path}`\n", f"{comments[message.full_name]}\n", *table]
    lines.extend(_row(name, field, comments) for name, field in schema.fields(message).items())
    if rules := _rules(message):
        lines += ["", "Rules:", *(f"- {rule}." for rule in rules)]
    found = ["\n".join(lines) + "\n"]
    for name, field in schema.fields(message).items():
        if schema.is_message(field):
            found.extend(_sections(schema.below(field), f"{path}.{name}{'[]' if schema.is_list(field) else ''}", comments))
    return found


def _row(name: str, field: FieldDescriptor, comments: dict[str, str]) -> str:
    meaning = comments[field.full_name].replace("|", "\\|")
    return f"| `{name}` | {_kind(field)} | {_default(field)} | {_allowed(field)} | {meaning} |"


def _kind(field: FieldDescriptor) -> str:
    if schema.is_map(field):
        return "names with text"
    one = "group" if schema.is_message(field) else expected(field).removeprefix("a ")
    return f"list of {one}" if schema.is_list(field) else one


def _default(field: FieldDescriptor) -> str:
    if schema.is_switch(field):
        return "*absent*"
    value = schema.default(field)
    if value is None:
        return "*required*" if is_required(field) else ""
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(field: FieldDescriptor) -> str:
    text = allowed_list(field) if field.is_repeated else allowed(schema.scalar_rules(field))
    return text.replace("|", "\\|")


def _rules(message: Descriptor) -> list[str]:
    """Messages of the rules across the message's own fields, and on its lists."""
    found = [rule.message for rule in schema.message_rules(message).cel]
    for field in message.fields:
        found += [rule.message for rule in schema.rules(field).cel]
        if schema.is_list(field) and schema.rules(field).HasField("repeated"):
            found += [rule.message for rule in schema.rules(field).repeated.items.cel]
    return found
