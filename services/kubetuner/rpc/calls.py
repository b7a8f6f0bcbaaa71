"""What happens around every call of a server: its deadline, its message against the schema's rules, its errors, its place among others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from kubetuner import log
from kubetuner.errors import KubeTunerError
from kubetuner.rpc import errors
from kubetuner.rpc.errors import Refused
from kubetuner.spec import validate

MOST_STREAMS: Final = 48
_NO_DEADLINE_SECONDS: Final = 10 * 365 * 86400.0  # grpc tells the absence of a deadline as one in the far future
_OWN: Final = "/kubetuner."
_logger = log.get(__name__)


class Calls(grpc.ServerInterceptor):
    """Stands around every call of our own services; health and reflection are left alone."""

    def __init__(self, *, streams: int = MOST_STREAMS) -> None:
        self._streams = threading.BoundedSemaphore(streams)

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None], handler_call_details: Any
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or not method.startswith(_OWN):
            return handler
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        assert handler.unary_stream is not None, "rooms take no streams"
        return grpc.unary_stream_rpc_method_handler(
            self._stream(method, handler.unary_stream), handler.request_deserializer, handler.response_serializer
        )

    def _unary(self, method: str, behaviour: Callable[[Message, Any], Any]) -> Callable[[Message, Any], Any]:
        def call(request: Message, context: Any) -> Any:
            begun = time.monotonic()
            try:
                _require_deadline(context)
                validate.check(request)
                return behaviour(request, context)
            except Exception as error:  # noqa: BLE001 (each is answered with a status; abort raises one of its own)
                _abort(context, method, error)
            finally:
                _logger.debug("call", method=method, seconds=round(time.monotonic() - begun, 4))

        return call

    def _stream(self, method: str, behaviour: Callable[[Message, Any], Iterator[Any]]) -> Callable[[Message, Any], Iterator[Any]]:
        def call(request: Message, context: Any) -> Iterator[Any]:
            if not self._streams.acquire(blocking=False):
                _abort(context, method, _too_many())
            try:
                validate.check(request)
                yield from behaviour(request, context)
            except Exception as error:  # noqa: BLE001 (as above)
                _abort(context, method, error)
            finally:
                self._streams.release()

        return call


def _too_many() -> Refused:
    return Refused(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_STREAMS",
        "too many streams are open here; close one, or ask again later",
        retry_seconds=5.0,
    )


def _require_deadline(context: Any) -> None:
    remaining = context.time_remaining()
    if remaining is None or remaining > _NO_DEADLINE_SECONDS:
        raise Refused(
            grpc.StatusCode.INVALID_ARGUMENT, "DEADLINE_REQUIRED", "the call has no deadline; give it one, as timeout=30 in Python"
        )


def _abort(context: Any, method: str, error: Exception) -> None:
    if context.code() is not None:  # aborted further in
        raise error
    if not isinstance(error, KubeTunerError):
        _logger.error("call failed", method=method, exc_info=error)
    found = errors.status(error)
    context.set_trailing_metadata(errors.details(found))
    context.abort(errors.code(found), found.message)
