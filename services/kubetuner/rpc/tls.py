"""TLS whose certificates are read again when their files change, at the next handshake."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import grpc

from kubetuner import log
from kubetuner.errors import InputError
from kubetuner.rpc.settings import Tls

_logger = log.get(__name__)


def credentials(tls: Tls) -> grpc.ServerCredentials:
    """Credentials of a server that follow the files. Raises InputError where they are no pair now; later ones are only warned of."""
    files = _Files(tls)
    fetch: Any = files.changed  # None is for "as before", which its types do not say
    return grpc.dynamic_ssl_server_credentials(files.load(), fetch, require_client_authentication=tls.client_authority is not None)


class _Files:
    """Files and what was last read of them."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._stamps: tuple[tuple[int, int], ...] = ()

    def load(self) -> grpc.ServerCertificateConfiguration:
        tls = self._tls
        stamps = self._look()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
            pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
            authority = tls.client_authority.read_bytes() if tls.client_authority is not None else None
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"{tls.certificate} and {tls.key}: no certificate with its key ({error}); mount a pair in PEM") from error
        self._stamps = stamps
        return grpc.ssl_server_certificate_configuration([pair], authority)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """A fresh configuration where the files are others than before; None where they are not, or are no pair at the moment."""
        try:
            return self.load() if self._look() != self._stamps else None
        except (OSError, InputError) as error:
            _logger.warning("certificates cannot be read again; the old ones stay", error=str(error))
            return None

    def _look(self) -> tuple[tuple[int, int], ...]:
        paths: tuple[Path | None, ...] = (self._tls.certificate, self._tls.key, self._tls.client_authority)
        return tuple((status.st_mtime_ns, status.st_ino) for path in paths if path is not None for status in [path.stat()])
