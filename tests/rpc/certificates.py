"""An authority and a server's certificate for localhost, by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Files in PEM."""

    authority: Path
    certificate: Path
    key: Path


def make(folder: Path, *, name: str = "localhost", days: int = 1) -> Certificates:
    """A new authority, and a certificate for a host that it has signed."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Certificates(authority=folder / "ca.crt", certificate=folder / "tls.crt", key=folder / "tls.key")
    extensions = folder / "extensions"
    extensions.write_text(f"subjectAltName=DNS:{name}\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl("req", "-x509", *curve, "-keyout", folder / "ca.key", "-out", found.authority, "-days", days, "-subj", "/CN=test")
    _openssl("req", *curve, "-keyout", found.key, "-out", folder / "tls.csr", "-subj", f"/CN={name}")
    signed = ("-CA", found.authority, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", days, "-extfile", extensions)
    _openssl("x509", "-req", "-in", folder / "tls.csr", *signed, "-out", found.certificate)
    return found


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
