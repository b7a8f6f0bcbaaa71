"""SimpleTuner's JSON files, key by key.

In: a file. Out: typed answers for each key that is asked for, `{env:VAR}` filled in. What nobody asks for is at last settled by the tables
or named as not carried, so no key is ever lost in silence.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from kubetuner.errors import InputError
from kubetuner.spec.words import shown

_PLACEHOLDER: Final = re.compile(r"\{env:([^{}]+)\}")
_NOTHING: Final = (None, "")
_TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("false", "0", "no", "off")
_SECRET: Final = ("key", "token", "password", "secret")


class NotCarried(NamedTuple):
    """A key that the run does not say, or says otherwise."""

    key: str
    """File and key, as `config.json: use_dora`."""
    reason: str
    """What was given, why it has no place in the run, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A key without a field of ours."""

    reason: str
    """Why it cannot be carried, and what to do."""
    harmless: tuple[Any, ...] = ()
    """Values at which nothing is lost, since it is always so here; text is compared in lower case."""
    always: bool = False
    """True where no value changes what the run makes."""


def read_text(path: Path) -> str:
    """The text in a file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the path of SimpleTuner's file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the right to read it") from error
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; save it as such") from None


def read_json(path: Path) -> Any:
    """The value of a JSON file."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}") from error
    except (RecursionError, ValueError):
        raise InputError(f"{path}: not a JSON file of settings (nested too deep, or a number too long)") from None


def located(base: Path, text: str) -> str:
    """A path as SimpleTuner would find it, from its working folder or from around its config; as it stands where nothing is there."""
    there = next((start / text for start in (Path.cwd(), base, base.parent) if os.path.exists(start / text)), None)
    return str(there.resolve()) if there is not None else text


class Keys:
    """The keys of one JSON object; each is asked for once."""

    def __init__(self, place: str, values: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.place = place
        self.carried: list[str] = []
        self.not_carried: list[NotCarried] = []
        self._environment = environment
        self._common: set[str] = set()
        self._values: dict[str, Any] = {}
        for name, value in values.items():
            plain = name.lstrip("-").replace("-", "_")
            if plain in self._values:
                raise InputError(f"{place}: {plain} is given twice, with and without --; keep one")
            self._values[plain] = value

    def peek(self, name: str) -> Any:
        """The value of a key that stays to be taken, or None."""
        return self._values.get(name)

    def fill(self, common: Mapping[str, Any]) -> None:
        """Give absent keys the values of another file, where they have been carried already."""
        self._common = {name for name in common if name not in self._values}
        self._values |= {name: common[name] for name in self._common}

    def drop(self, reason: str) -> None:
        """Name every key that is left as not carried."""
        for name in list(self._values):
            self.refuse(name, reason)

    def take(self, name: str, *aliases: str) -> Any:
        """The value of a key (or of the first alias that is given), or None; it counts as carried."""
        found = None
        for known in (name, *aliases):
            if known in self._values:
                value = self._filled(known, self._values.pop(known))
                if known not in self._common:
                    self.carried.append(f"{self.place}: {known}")
                found = value if found in _NOTHING else found
        return None if found in _NOTHING else found

    def text(self, name: str, *aliases: str) -> str | None:
        """A key that holds text."""
        value = self.take(name, *aliases)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool | list | dict):
            raise self.wrong(name, value, "text is expected")
        return str(value)

    def number(self, name: str, *aliases: str, default: float | None = None) -> float | None:
        """A key that holds a number, as a number or as text."""
        value = self.take(name, *aliases)
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return default
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not math.isfinite(found):
            raise self.wrong(name, value, "a number is expected")
        return found

    def whole(self, name: str, *aliases: str, default: int | None = None) -> int | None:
        """A key that holds a whole number."""
        found = self.number(name, *aliases, default=default)
        if found is None:
            return None
        if found != int(found):
            raise self.wrong(name, found, "a whole number is expected")
        return int(found)

    def flag(self, name: str, *aliases: str) -> bool | None:
        """A key that holds true or false, also as text or as 0 and 1."""
        value = self.take(name, *aliases)
        if value is None or isinstance(value, bool):
            return value
        word = str(value).lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise self.wrong(name, value, "true or false is expected")

    def refuse(self, name: str, reason: str) -> None:
        """Name a key as not carried; does nothing where it is not given."""
        label = f"{self.place}: {name}"
        self._values.pop(name, None)
        if label in self.carried:
            self.carried.remove(label)
        self.not_carried.append(NotCarried(key=label, reason=reason))

    def settle(self, table: Mapping[str, Settled]) -> None:
        """Deal with every key that nobody asked for: harmless by the table, or not carried with its reason."""
        for name in list(self._values):
            value = self._values.pop(name)
            begins = (rule for prefix, rule in table.items() if prefix.endswith("*") and name.startswith(prefix[:-1]))
            known = table.get(name) or next(begins, None)
            label = f"{self.place}: {name}"
            if name.startswith("_") or (known and (known.always or value in _NOTHING or _plain(value) in known.harmless)):
                self.carried.append(label)
                continue
            given = "given" if any(word in name for word in _SECRET) else f"{shown(value)} given"
            reason = known.reason if known else "KubeTuner knows no such option; look for what you need in docs/fields.md"
            self.not_carried.append(NotCarried(key=label, reason=f"{given}; {reason}"))

    def wrong(self, name: str, value: object, rule: str) -> InputError:
        """The error for a value that cannot be read."""
        return InputError(f"{self.place}: {name}: {shown(value)} given, but {rule}")

    def _filled(self, name: str, value: Any) -> Any:
        """The value with `{env:VAR}` placeholders filled in, in lists and groups too."""
        if isinstance(value, list):
            return [self._filled(name, item) for item in value]
        if isinstance(value, dict):
            return {key: self._filled(name, item) for key, item in value.items()}
        if not isinstance(value, str):
            return value
        missing = [variable for variable in _PLACEHOLDER.findall(value) if variable not in self._environment]
        if missing:
            raise InputError(f"{self.place}: {name}: the environment has no {missing[0]}; set it, or write the value in its place")
        return _PLACEHOLDER.sub(lambda found: self._environment[found[1]], value)


def _plain(value: Any) -> Any:
    """A value to compare with: text in lower case, "true" and "1" as they are meant."""
    if not isinstance(value, str):
        return value if isinstance(value, bool | int | float) or value is None else str(value)
    word = value.lower()
    if word in ("true", "false"):
        return word == "true"
    try:
        return float(word)
    except ValueError:
        return word
