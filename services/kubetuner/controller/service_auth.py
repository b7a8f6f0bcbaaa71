"""Who calls RunService, and what they may: a bearer token reviewed by the API server, and its word on the caller's own rights.

The controller acts with its own account, so every call asks first whether the caller could have done the same with kubectl. Answers are
kept for a short while, and not more than so many of them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import grpc

from kubetuner.controller.runs import Caller
from kubetuner.rpc.errors import Refused

AUDIENCE: Final = "kubetuner"
CALLER: ContextVar[Caller] = ContextVar("caller")
"""Whose call this is; set around each."""
_TOKEN_SECONDS: Final = 60.0
_REFUSED_SECONDS: Final = 5.0
_ACCESS_SECONDS: Final = 10.0
_MOST_TOKENS: Final = 2_000
_MOST_RIGHTS: Final = 10_000
_LONGEST: Final = 16_384
_AT_ONCE: Final = 16
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Reviews(Protocol):
    """What the API server says of a token and of rights; `Runs` answers it."""

    async def review_token(self, token: str, audience: str) -> Caller | None:
        """Whom the token stands for; None where it is not valid for this audience."""

    async def review_access(self, caller: Caller, verb: str, namespace: str, name: str = "") -> tuple[bool, str]:
        """Whether the caller may do this with runs of the namespace, and the reason."""


class Kept(Generic[_Key, _Value]):
    """At most so many answers, each for its time; the one that was not asked for longest goes first."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._rows: OrderedDict[_Key, tuple[float, _Value]] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        """The answer, where it still holds."""
        row = self._rows.get(key)
        if row is None or row[0] <= self._clock():
            self._rows.pop(key, None)
            return None
        self._rows.move_to_end(key)
        return row[1]

    def put(self, key: _Key, value: _Value, seconds: float) -> None:
        """Keep an answer for so long."""
        self._rows[key] = (self._clock() + seconds, value)
        self._rows.move_to_end(key)
        while len(self._rows) > self._most:
            self._rows.popitem(last=False)

    def __len__(self) -> int:
        return len(self._rows)


@dataclass(slots=True)
class Gate:
    """Lets calls through."""

    reviews: Reviews
    audience: str = AUDIENCE
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    _tokens: Kept[bytes, Caller | str] = field(init=False)
    _rights: Kept[tuple[Caller, str, str, str], tuple[bool, str]] = field(init=False)
    _asked: dict[object, asyncio.Future[Any]] = field(default_factory=dict)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    def __post_init__(self) -> None:
        self._tokens = Kept(_MOST_TOKENS, self.clock)
        self._rights = Kept(_MOST_RIGHTS, self.clock)

    async def identify(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """The caller that a call's metadata proves. Raises Refused (UNAUTHENTICATED)."""
        token = _bearer(metadata)
        key = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        found = self._tokens.get(key)
        if found is None:
            left = self._seconds_left(token)
            reviewed = await self._once(key, lambda: self.reviews.review_token(token, self.audience)) if left > 0 else None
            found = reviewed if reviewed is not None else self._why_not(token, left)
            # Not for what was left before the review, which may have taken a while.
            self._tokens.put(key, found, min(_TOKEN_SECONDS, self._seconds_left(token)) if reviewed is not None else _REFUSED_SECONDS)
        if isinstance(found, str):
            raise _unauthenticated("TOKEN_INVALID", found)
        return found

    async def allow(self, verb: str, namespace: str, name: str = "") -> None:
        """Raises Refused (PERMISSION_DENIED) where the caller may not do this with runs of the namespace."""
        caller = CALLER.get()
        allowed, reason = await self._ask(caller, verb, namespace, name)
        if not allowed:
            where = f"in the namespace {namespace}" if namespace else "in all namespaces"
            raise Refused(
                grpc.StatusCode.PERMISSION_DENIED,
                "PERMISSION_DENIED",
                f"{caller.username} may not {verb} trainingruns.kubetuner.dev {where}{f' ({reason})' if reason else ''}; "
                "ask for a Role with this right, or name another namespace",
                metadata={"verb": verb, "namespace": namespace},
            )

    async def may(self, verb: str, namespace: str) -> bool:
        """Whether the caller may do this with runs of the namespace."""
        return (await self._ask(CALLER.get(), verb, namespace, ""))[0]

    async def _ask(self, caller: Caller, verb: str, namespace: str, name: str) -> tuple[bool, str]:
        key = (caller, verb, namespace, name)
        found = self._rights.get(key)
        if found is None:
            found = await self._once(key, lambda: self.reviews.review_access(caller, verb, namespace, name))
            self._rights.put(key, found, _ACCESS_SECONDS)
        return found

    async def _once(self, key: object, ask: Callable[[], Coroutine[Any, Any, _Value]]) -> _Value:
        """Ask the API server; who asks the same meanwhile shares the answer, and not too many ask at once."""

        async def review() -> _Value:
            async with self._places:
                return await ask()

        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.ensure_future(review())
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        found: _Value = await asyncio.shield(task)
        return found

    def _seconds_left(self, token: str) -> float:
        """Until the token ends by its own word; a while where it says nothing that we can read."""
        try:
            part = token.split(".")[1]
            ends = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["exp"]
            return float(ends) - self.wall()
        except (LookupError, ValueError, TypeError):
            return _TOKEN_SECONDS

    def _why_not(self, token: str, left: float) -> str:
        if left <= 0:
            return "the token has expired; get a new one, as by `kubectl create token NAME --audience=" + self.audience + "`"
        return (
            f"the token is not valid for the audience {self.audience}, or nobody's; get one by "
            f"`kubectl create token NAME --audience={self.audience}`"
        )


def _bearer(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for key, value in metadata:
        if key.lower() == "authorization":
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
            kind, _, token = text.partition(" ")
            if kind.lower() == "bearer" and 0 < len(token.strip()) <= _LONGEST:
                return token.strip()
            raise _unauthenticated("TOKEN_MALFORMED", "the metadata `authorization` holds no bearer token; send `Bearer TOKEN`")
    raise _unauthenticated("TOKEN_MISSING", "no token came with the call; send the metadata `authorization: Bearer TOKEN`")


def _unauthenticated(reason: str, message: str) -> Refused:
    return Refused(grpc.StatusCode.UNAUTHENTICATED, reason, message)
