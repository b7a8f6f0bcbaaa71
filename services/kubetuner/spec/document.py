"""YAML text <-> plain values. One document, no duplicate keys, the YAML that Kubernetes reads: `1e-4` is a number, a date is text.

In: text. Out: dicts, lists, text, numbers, booleans and None; anything else is an InputError with the line.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

from kubetuner.errors import InputError

_LARGEST: Final = 1 << 20  # a Kubernetes object may not be larger either
_FLOAT: Final = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_INT: Final = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+)$")
_BOOL: Final = re.compile(r"^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$")
_NULL: Final = re.compile(r"^(?:~|null|Null|NULL|)$")
_LINE_ENDS: Final = re.compile("[\r\x85\u2028\u2029\ufeff]")
_TAGS: Final = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}


class _Loader(yaml.SafeLoader):
    """Safe loader with Kubernetes' scalars, without dates, sets and pairs, that refuses duplicate keys."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag not in _TAGS:
            raise yaml.constructor.ConstructorError(None, None, f"the tag {node.tag} is not read here", node.start_mark)
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, IndexError, KeyError) as error:  # an explicit tag on a scalar of another kind, or a number past Python's limit
            raise yaml.constructor.ConstructorError(None, None, "this value is not of its tag's kind", node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"{key.value} is given twice in one place (first on line {seen[key.value]}); keep one"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen[key.value] = line
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Safe dumper that quotes text which either this module or another YAML reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Rare line ends would be folded into spaces where they stand unescaped.
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if _LINE_ENDS.search(data) else None)


_Dumper.add_representer(str, _Dumper.represent_str)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", _BOOL, "yYnNtTfFoO"),
    ("float", _FLOAT, "-+0123456789."),
    ("int", _INT, "-+0123456789"),
    ("null", _NULL, ["~", "n", "N", ""]),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))


def read(path: Path) -> dict[str, Any]:
    """The one mapping in a YAML file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the path of a TrainingRun in YAML") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a TrainingRun in YAML") from error
    if len(data) > _LARGEST:
        raise InputError(f"{path}: {len(data)} bytes; a TrainingRun has at most {_LARGEST}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; give the path of a TrainingRun in YAML") from None
    value = parse(text, str(path))
    if value is None:
        raise InputError(f"{path}: empty; it should hold a TrainingRun (apiVersion, kind, metadata, spec)")
    if not isinstance(value, dict):
        what = "a list" if isinstance(value, list) else "a single value"
        raise InputError(f"{path}: holds {what}, not the fields of a TrainingRun (apiVersion, kind, metadata, spec)")
    return value


def parse(text: str, name: str) -> Any:
    """The value of one YAML document; `name` stands in the errors."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}, line {mark.line + 1}" if mark else name
        if error.context == "expected a single document in the stream":
            raise InputError(f"{where}: a second document begins here; keep one run in a file") from error
        raise InputError(f"{where}: not valid YAML: {_one_line(error.problem or error.context or 'unknown')}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {_one_line(str(error))}") from error
    except RecursionError:
        raise InputError(f"{name}: nested too deep to be a TrainingRun") from None


def write(value: object) -> str:
    """YAML of plain values, in their order, that `parse` reads back equal."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120)
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())
