"""Objects of the cluster in memory, of each as much as somebody reads. Reads cost nothing; what they show is not to be changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import orjson

from kubetuner.controller.api import Json

_FIELDS: Final = ("managedFields", "selfLink")
_SHORT: Final = 64
_SPECS: Final = 64
"""Different ones that are remembered."""

Heard = Callable[[Json, bool], None]
"""Told of each object that was added, changed or (True) deleted."""


def as_is(found: Json) -> Json:
    """An object without what nobody reads."""
    meta = found["metadata"]
    for name in _FIELDS:
        meta.pop(name, None)
    if annotations := meta.get("annotations"):
        annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
    return found


def compact(found: Any) -> Any:
    """An equal value whose names and short texts are shared with all others: thousands of objects have the same ones."""
    if isinstance(found, dict):
        return {sys.intern(key): compact(value) for key, value in found.items()}
    if isinstance(found, list):
        return [compact(value) for value in found]
    return sys.intern(found) if type(found) is str and len(found) <= _SHORT else found


class Cache:
    """Objects of one kind by namespace and name, and by the UID of their owner."""

    def __init__(self, trim: Callable[[Json], Json] = as_is) -> None:
        self._trim = trim
        self._objects: dict[tuple[str, str], Json] = {}
        self._owned: dict[str, set[tuple[str, str]]] = {}
        self._heard: list[Heard] = []
        self._versions: dict[str, int] = {}
        self._specs: dict[bytes, Json] = {}
        self._waiting: set[str] = set()
        self.synced = False
        """Whether every namespace has been listed."""

    def trimmed(self, found: Json) -> Json:
        """What is kept of an object; of one that was trimmed already, the same."""
        return {name: self._shared(value) if name == "spec" else compact(value) for name, value in self._trim(found).items()}

    def _shared(self, spec: Json) -> Json:
        """An equal one, which is that of the objects seen lately that have it too: the same run at another moment, a run like others."""
        content = orjson.dumps(spec)
        kept: Json = self._specs.pop(content) if content in self._specs else compact(spec)
        self._specs[content] = kept
        if len(self._specs) > _SPECS:
            del self._specs[next(iter(self._specs))]
        return kept

    def hear(self, heard: Heard) -> None:
        """Tell of every change from now on."""
        self._heard.append(heard)

    def get(self, namespace: str, name: str) -> Json | None:
        """The object as last seen."""
        return self._objects.get((namespace, name))

    def all(self) -> Iterator[Json]:
        """All objects, of a moment."""
        return iter(list(self._objects.values()))

    def owned(self, uid: str) -> list[Json]:
        """Objects whose controller has this UID."""
        return [self._objects[key] for key in sorted(self._owned.get(uid, ()))]

    def __len__(self) -> int:
        return len(self._objects)

    def learn(self, found: Json, *, scope: str | None = None, surely: bool = False) -> bool:
        """Take in the answer to a write, before the watch tells of it; nothing where the watch is past it already. True where it is new.

        `scope` is given by the reflector itself, whose order is the truth. `surely` is of an object that the server has just shown, which a
        watch must have missed where it is past it.
        """
        key, version = _key(found), _version(found)
        if scope is None and not surely and version <= max((self._versions.get(one, 0) for one in ("", key[0])), default=0):
            return False
        held = self._objects.get(key)
        if held is not None and version <= _version(held):
            return False
        self._put(key, held, self.trimmed(found))
        return True

    def expect(self, scopes: Iterable[str]) -> None:
        """Name the namespaces that must be listed before `synced`."""
        self._waiting = set(scopes)

    def replace(self, scope: str, found: list[Json], version: str) -> None:
        """The whole list of a namespace (all with an empty one), trimmed already: what is not in it is gone."""
        there = {_key(one) for one in found}
        for key in [key for key in self._objects if (not scope or key[0] == scope) and key not in there]:
            if _version(self._objects[key]) <= _number(version):
                self.remove(self._objects[key])
        for one in found:
            held = self._objects.get(_key(one))
            if held is None or _version(one) > _version(held):
                self._put(_key(one), held, one)
        self.reach(scope, version)
        self._waiting.discard(scope)
        self.synced = self.synced or not self._waiting

    def remove(self, found: Json) -> None:
        """The object is gone."""
        key = _key(found)
        held = self._objects.get(key)
        if held is None or _version(held) > _version(found):
            return
        del self._objects[key]
        self._index(key, held, add=False)
        for heard in self._heard:
            heard(held, True)

    def reach(self, scope: str, version: str) -> None:
        """The watch of a namespace has told of everything up to this version."""
        self._versions[scope] = max(self._versions.get(scope, 0), _number(version))

    def _put(self, key: tuple[str, str], held: Json | None, found: Json) -> None:
        if held is not None:
            self._index(key, held, add=False)
            if held["metadata"]["uid"] != found["metadata"]["uid"]:
                for heard in self._heard:
                    heard(held, True)
        self._objects[key] = found
        self._index(key, found, add=True)
        for heard in self._heard:
            heard(found, False)

    def _index(self, key: tuple[str, str], found: Json, *, add: bool) -> None:
        uid = owner(found)
        if not uid:
            return
        if add:
            self._owned.setdefault(uid, set()).add(key)
        elif keys := self._owned.get(uid):
            keys.discard(key)
            if not keys:
                del self._owned[uid]


def owner(found: Json) -> str:
    """UID of the controller that owns the object; empty where none does."""
    return next((one["uid"] for one in found["metadata"].get("ownerReferences") or () if one.get("controller")), "")


def _key(found: Json) -> tuple[str, str]:
    meta = found["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _version(found: Json) -> int:
    return _number(found["metadata"].get("resourceVersion", ""))


def _number(version: str) -> int:
    """Versions are compared as numbers, which Kubernetes allows since 1.35 and always did in fact."""
    return int(version) if version.isdigit() else 0
