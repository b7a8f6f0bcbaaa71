"""Keys and certificates of a cluster, made by openssl: one authority, a serving certificate, a client's, and a key for tokens."""

from __future__ import annotations

import json
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_DAYS: Final = "3650"


def authority(folder: Path) -> None:
    """`ca.crt` and `ca.key`, unless they are there."""
    if not (folder / "ca.crt").exists():
        _key(folder / "ca.key")
        _openssl(
            *(
                "req",
                "-x509",
                "-new",
                "-key",
                folder / "ca.key",
                "-days",
                _DAYS,
                "-subj",
                "/CN=kubetuner-cluster",
                "-out",
                folder / "ca.crt",
            ),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
        )


def certificate(folder: Path, name: str, *, subject: str, names: Sequence[str] = (), usage: str = "serverAuth") -> None:
    """`<name>.crt` and `<name>.key`, signed by the folder's authority, unless they are there.

    Names are `DNS:...` and `IP:...`, usage is `serverAuth` or `clientAuth`.
    """
    if (folder / f"{name}.crt").exists():
        return
    _key(folder / f"{name}.key")
    extensions = [f"extendedKeyUsage={usage}", "keyUsage=critical,digitalSignature", "basicConstraints=critical,CA:FALSE"]
    if names:
        extensions.append(f"subjectAltName={','.join(names)}")
    (folder / f"{name}.ext").write_text("\n".join(extensions))
    _openssl("req", "-new", "-key", folder / f"{name}.key", "-subj", subject, "-out", folder / f"{name}.csr")
    _openssl(
        *("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial"),
        *("-days", _DAYS, "-extfile", folder / f"{name}.ext", "-out", folder / f"{name}.crt"),
    )


def token_keys(folder: Path) -> None:
    """`tokens.key` and `tokens.pub`, with which ServiceAccount tokens are signed and checked, unless they are there."""
    if not (folder / "tokens.pub").exists():
        _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", folder / "tokens.key")
        _openssl("pkey", "-in", folder / "tokens.key", "-pubout", "-out", folder / "tokens.pub")


def token(folder: Path, claims: Mapping[str, Any]) -> str:
    """A token that says this, signed as the API server signs those of ServiceAccounts."""
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    signed = b".".join(_base64(json.dumps(part).encode()) for part in parts)
    command = ["openssl", "dgst", "-sha256", "-sign", folder / "tokens.key"]
    signature = subprocess.run(command, input=signed, check=True, capture_output=True).stdout
    return b".".join([signed, _base64(signature)]).decode()


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _key(path: Path) -> None:
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    path.chmod(0o600)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
