"""What happens around every call of RunService: who calls, the message against the schema's rules, time, place, errors.

The rooms' servers have `rpc/calls.py` for the same; this is its asyncio form with a caller to identify.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from kubetuner import log
from kubetuner.controller.api import ApiError
from kubetuner.controller.service_auth import CALLER, Gate
from kubetuner.errors import KubeTunerError, SpecError, SpecErrors
from kubetuner.rpc import errors
from kubetuner.rpc.errors import Refused
from kubetuner.spec import validate
from kubetuner.v1alpha1.run_service_pb2 import CreateRunRequest, InspectRunRequest

MOST_CALLS: Final = 256
MOST_STREAMS: Final = 200
_SECONDS: Final = 120.0
"""What a call of one answer may take where the caller set no deadline, and"""
_MOST_SECONDS: Final = 3600.0
"""at most, whatever deadline was set."""
_OPEN: Final = "/grpc.health."
_logger = log.get(__name__)
_Unary = Callable[[Any, Any], Awaitable[Any]]
_Stream = Callable[[Any, Any], AsyncIterator[Any]]
Told = Callable[[str, str, float], None]
_CHANGES: Final = ("Create", "Suspend", "Resume", "Cancel", "Delete", "Upload")


def ignore(method: str, code: str, seconds: float) -> None:
    """Hears of a call and does nothing."""


class Calls(grpc.aio.ServerInterceptor):
    """Stands around every call but health, which anybody may ask for."""

    def __init__(self, gate: Gate, *, streams: int = MOST_STREAMS, told: Told = ignore) -> None:
        """`told` hears how each call ended, by gRPC's word for it, and how long it took."""
        self._gate = gate
        self._told = told
        self._most_streams = streams
        self._streams = 0
        self._calls = 0

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(handler_call_details)
        details: Any = handler_call_details
        method = str(details.method)
        if handler is None or method.startswith(_OPEN):
            return handler
        coding = (handler.request_deserializer, handler.response_serializer)
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._one(method, handler.unary_unary), *coding)
        if handler.stream_unary is not None:
            return grpc.stream_unary_rpc_method_handler(self._taken(method, handler.stream_unary), *coding)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._many(method, handler.unary_stream), *coding)
        return grpc.stream_stream_rpc_method_handler(self._many(method, handler.stream_stream), *coding)

    def _one(self, method: str, behaviour: _Unary) -> _Unary:
        async def call(request: Message, context: Any) -> Any:
            async with self._around(method, context, request):
                if self._calls >= MOST_CALLS:
                    raise _too_many("calls")
                self._calls += 1
                try:
                    async with asyncio.timeout(min(context.time_remaining() or _SECONDS, _MOST_SECONDS)):
                        return await behaviour(request, context)
                finally:
                    self._calls -= 1

        return call

    def _taken(self, method: str, behaviour: _Unary) -> _Unary:
        async def call(requests: AsyncIterator[Message], context: Any) -> Any:
            async with self._around(method, context):
                with self._place():
                    return await behaviour(_checked(requests), context)

        return call

    def _many(self, method: str, behaviour: _Stream) -> _Stream:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            async with self._around(method, context, request if isinstance(request, Message) else None):
                with self._place():
                    async for answer in behaviour(request, context):
                        yield answer

        return call

    @asynccontextmanager
    async def _around(self, method: str, context: Any, request: Message | None = None) -> AsyncIterator[None]:
        """Let the caller in, answer what goes wrong with its status, and tell how it ended."""
        begun, name = time.monotonic(), method.rpartition("/")[2]
        ended = grpc.StatusCode.CANCELLED
        try:
            CALLER.set(await self._gate.identify(context.invocation_metadata() or ()))
            if request is not None:
                check(request)
            yield
            ended = grpc.StatusCode.OK
        except Exception as error:  # noqa: BLE001 (each is answered with a status)
            found = _status(method, error)
            ended = errors.code(found)
            await context.abort(ended, found.message, errors.details(found))
        finally:
            self._told(name, ended.name, time.monotonic() - begun)
            if name.startswith(_CHANGES) and (caller := CALLER.get(None)) is not None:
                _logger.info("change asked for", method=name, caller=caller.username, code=ended.name, **_about(request))

    @contextmanager
    def _place(self) -> Iterator[None]:
        """A place among the streams."""
        if self._streams >= self._most_streams:
            raise _too_many("streams")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1


def check(request: Message) -> None:
    """A message against the schema's rules. Raises SpecErrors; the fields of a run have the paths that they have in the CR."""
    wrong = validate.violations(request)
    if isinstance(request, CreateRunRequest | InspectRunRequest):
        wrong = [SpecError(error.path.removeprefix("run."), error.problem) for error in wrong]
    if wrong:
        raise SpecErrors(wrong)


def translate(error: ApiError) -> KubeTunerError:
    """What an answer of the API server means for the caller."""
    causes = [cause for cause in error.details.get("causes") or () if cause.get("field")]
    if error.status == 422 and causes:
        return SpecErrors([SpecError(str(cause["field"]), str(cause.get("message", ""))) for cause in causes])
    code = _CODES.get((error.status, error.reason)) or _CODES.get((error.status, ""))
    if code is None:
        again = error.status == 0 or error.status >= 500
        code = grpc.StatusCode.UNAVAILABLE if again else grpc.StatusCode.FAILED_PRECONDITION
    retry = max(error.retry_after, 1.0) if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED) else None
    return Refused(code, _word(error.reason), f"the cluster's API server: {error.message}", retry_seconds=retry)


_CODES: Final = {
    (400, ""): grpc.StatusCode.INVALID_ARGUMENT,
    (404, ""): grpc.StatusCode.NOT_FOUND,
    (409, "AlreadyExists"): grpc.StatusCode.ALREADY_EXISTS,
    (409, ""): grpc.StatusCode.ABORTED,
    (422, ""): grpc.StatusCode.INVALID_ARGUMENT,
    (429, ""): grpc.StatusCode.RESOURCE_EXHAUSTED,
}


async def _checked(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        check(request)
        yield request


def _status(method: str, error: Exception) -> Any:
    if isinstance(error, ApiError):
        error = translate(error)
    elif isinstance(error, TimeoutError):
        error = Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "TOO_SLOW", "the call took too long here; ask again later", retry_seconds=5.0)
    elif not isinstance(error, KubeTunerError):
        _logger.error("call failed", method=method, exc_info=error)
    return errors.status(error)


def _about(request: Any) -> dict[str, str]:
    """Which run a call is about."""
    if request is None:
        return {}
    if isinstance(request, CreateRunRequest):
        return {"namespace": request.namespace, "run": request.run.metadata.name}
    return {"namespace": request.run.namespace, "run": request.run.name}


def _too_many(what: str) -> Refused:
    words = f"too many {what} are under way here; ask again later"
    return Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"TOO_MANY_{what.upper()}", words, retry_seconds=5.0)


def _word(reason: str) -> str:
    """AlreadyExists -> ALREADY_EXISTS."""
    return "".join(f"_{letter}" if letter.isupper() and place else letter for place, letter in enumerate(reason)).upper() or "FAILED"
