"""A room's gRPC server: its services with health, TLS, limits, reflection where it is asked for, and an end without loss.

Two ports: the services (TLS where certificates are given), and health alone in plain text, since the kubelet's probes speak no TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from kubetuner import log
from kubetuner.errors import KubeTunerError
from kubetuner.rpc import tls
from kubetuner.rpc.calls import MOST_STREAMS, Calls
from kubetuner.rpc.settings import Listening

MOST_BYTES: Final = 4 << 20
"""Of one message, either way."""
_THREADS: Final = MOST_STREAMS + 16
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", MOST_BYTES),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not shared
)
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service to serve."""

    name: str
    """Full name, as `kubetuner.v1alpha1.JobService`."""
    add: Callable[[Any], None]
    """Adds its servicer to a server."""


class Server:
    """The servers of a process. Entered, they serve; left, they end within a few seconds."""

    def __init__(self, listening: Listening, services: Sequence[Service]) -> None:
        self._listening = listening
        self._services = services
        self._health = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=ThreadPoolExecutor(4))
        self._main = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="call"),
            interceptors=[Calls()],
            options=OPTIONS,
            maximum_concurrent_rpcs=4 * _THREADS,
        )
        self._probes = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="health"), options=OPTIONS)
        self.port = 0
        """Port of the services, once they are served."""
        self.health_port = 0

    def __enter__(self) -> Self:
        self._fill()
        self.port = self._listen()
        self._main.start()
        if self._listening.health_address:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._probes)
            self.health_port = _bound(
                lambda: self._probes.add_insecure_port(self._listening.health_address), self._listening.health_address
            )
            self._probes.start()
        self.serving(True)
        _logger.info("serving", port=self.port, health=self.health_port, services=[service.name for service in self._services])
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        ended = self._main.stop(grace=2.0)
        ended.wait()
        self._probes.stop(grace=0.0).wait()

    def serving(self, ready: bool) -> None:
        """Say by health, for each service and for all, whether calls are taken."""
        state = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *(service.name for service in self._services)):
            self._health.set(name, state)

    def leave(self) -> None:
        """Say by health that no more calls should come, whatever else is said later."""
        self._health.enter_graceful_shutdown()

    def _fill(self) -> None:
        for service in self._services:
            service.add(self._main)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._main)
        if self._listening.reflection:
            names = [*(service.name for service in self._services), health.SERVICE_NAME, reflection.SERVICE_NAME]
            reflection.enable_server_reflection(names, self._main)

    def _listen(self) -> int:
        address, certificates = self._listening.address, self._listening.tls
        if not address:
            return 0
        if certificates is None:
            return _bound(lambda: self._main.add_insecure_port(address), address)
        trusted = tls.credentials(certificates)
        return _bound(lambda: self._main.add_secure_port(address, trusted), address)


def _bound(bind: Callable[[], int], address: str) -> int:
    try:
        port = bind()
    except RuntimeError as error:
        raise KubeTunerError(f"{address}: cannot be listened on ({error}); free the port, or give another address") from error
    if port == 0:
        raise KubeTunerError(f"{address}: cannot be listened on; free the port, or give another address")
    return port
