"""protovalidate's CEL in Kubernetes' words: `this` is `self`, fields are camelCase, and CEL's reserved words are escaped."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"""|(?P<member>\.\s*[A-Za-z_]\w*(?!\w)(?!\s*\())"""
    r"""|(?P<word>(?<![\w.])this\b)"""
)
_RESERVED = frozenset({
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
    "namespace", "return", "var", "void", "while",
})  # fmt: skip
# https://kubernetes.io/docs/reference/using-api/cel: these are written __word__ as fields


def for_kubernetes(expression: str) -> str:
    """The same rule as an `x-kubernetes-validations` expression."""
    return _TOKEN.sub(_rewritten, expression)


def _rewritten(found: re.Match[str]) -> str:
    if found["word"]:
        return "self"
    if not found["member"]:
        return found[0]
    head, *rest = found["member"][1:].strip().split("_")
    name = head + "".join(part[:1].upper() + part[1:] for part in rest)
    return f".__{name}__" if name in _RESERVED else f".{name}"
