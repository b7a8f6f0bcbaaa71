"""The way to a controller: its address, TLS, the token of each call, and what is tried again.

A call that can be repeated without harm is repeated by gRPC itself while the server is away; streams go on where they were (client.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from kubetuner.errors import InputError

Token = str | Callable[[], str] | None
"""A bearer token, or what gives one for each call: a ServiceAccount's are replaced every hour."""
_REPEATABLE: Final = (
    "CreateRun", "GetRun", "ListRuns", "SuspendRun", "ResumeRun", "CancelRun", "CompareDataset", "ListOutputs",
)  # fmt: skip
"""CreateRun among them, since each carries a request_id."""
_SERVICE: Final = "kubetuner.v1alpha1.RunService"
_RETRY: Final = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "5s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_CONFIG: Final = {"methodConfig": [{"name": [{"service": _SERVICE, "method": name} for name in _REPEATABLE], "retryPolicy": _RETRY}]}
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 4 << 20),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 1),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.service_config", json.dumps(_CONFIG)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A controller and the right to speak to it."""

    address: str
    """`host:port`, or any other name that gRPC resolves, as dns:///kubetuner.kubetuner:443."""
    token: Token = None
    ca: str | Path | bytes | None = None
    """Certificates to trust: a file in PEM, or its content; None for those that gRPC brings along."""
    server_name: str = ""
    """Name that the server's certificate must have, where it is not the one in the address, as behind `kubectl port-forward`."""
    insecure: bool = False
    """Without TLS: for tests, and for a proxy on the same host."""
    certificate: str | Path | bytes | None = None
    """The client's own certificate, where the server asks for one, and"""
    key: str | Path | bytes | None = None
    """its key; files in PEM, or their content."""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with each call."""
        token = self.token() if callable(self.token) else self.token
        return (("authorization", f"Bearer {token.strip()}"),) if token else ()

    def channel(self) -> grpc.aio.Channel:
        """A channel; connects when it is first used."""
        if not self.address:
            raise InputError("address: empty; give the controller's, as dns:///kubetuner.kubetuner:443, or set KUBETUNER_ADDRESS")
        options = [*_OPTIONS, *([("grpc.ssl_target_name_override", self.server_name)] if self.server_name else [])]
        if self.insecure:
            return grpc.aio.insecure_channel(self.address, options)
        if (self.certificate is None) != (self.key is None):
            raise InputError("certificate and key belong together; give both, or neither")
        trusted = grpc.ssl_channel_credentials(_pem(self.ca), _pem(self.key, "PRIVATE KEY"), _pem(self.certificate))
        return grpc.aio.secure_channel(self.address, trusted, options)


def of_environment(environment: Mapping[str, str] = os.environ) -> Target:
    """What the environment says.

    KUBETUNER_ADDRESS      the controller's address
    KUBETUNER_TOKEN        a bearer token, or
    KUBETUNER_TOKEN_FILE   a file that holds one, read at each call
    KUBETUNER_CA           file of certificates to trust
    KUBETUNER_SERVER_NAME  name that the server's certificate must have
    KUBETUNER_CERT, KUBETUNER_KEY  files of the client's own certificate and key
    KUBETUNER_INSECURE     1 speaks without TLS
    """
    given = environment.get("KUBETUNER_TOKEN") or None
    file = environment.get("KUBETUNER_TOKEN_FILE")
    return Target(
        address=environment.get("KUBETUNER_ADDRESS", ""),
        token=given if given is not None or not file else of_file(Path(file)),
        ca=environment.get("KUBETUNER_CA") or None,
        server_name=environment.get("KUBETUNER_SERVER_NAME", ""),
        insecure=environment.get("KUBETUNER_INSECURE", "") in ("1", "true", "yes", "on"),
        certificate=environment.get("KUBETUNER_CERT") or None,
        key=environment.get("KUBETUNER_KEY") or None,
    )


def of_file(path: Path) -> Callable[[], str]:
    """The token in a file, read at each call."""

    def read() -> str:
        try:
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: no token can be read there ({error}); give a file that holds one") from error

    return read


def _pem(given: str | Path | bytes | None, what: str = "CERTIFICATE") -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    try:
        data = Path(given).read_bytes()
    except OSError as error:
        raise InputError(f"{given}: cannot be read ({error.strerror}); give a file in PEM") from error
    if f"{what}-----".encode() not in data:
        raise InputError(f"{given}: holds no {what.lower()}; give a file in PEM that does")
    return data
