"""What a server is told by its environment; every room reads the same, and some read a few more of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kubetuner import log
from kubetuner.errors import InputError

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"", "0", "false", "no", "off"})
_DEVICES: Final = ("auto", "cpu", "cuda")


class SettingError(InputError):
    """A variable of the environment is wrong; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files of certificates, read again when they change."""

    certificate: Path
    key: Path
    client_authority: Path | None = None
    """Who signs the certificates of clients; where it is given, a client without one is turned away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where and how a server is spoken to."""

    address: str = "[::]:8080"
    """Of the services; empty for none."""
    health_address: str = "[::]:8081"
    """Health alone, without TLS, for the kubelet; empty for none."""
    tls: Tls | None = None
    reflection: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What any room's process is told."""

    store: str
    """Address of the object store."""
    request: Path | None = None
    """The request that this process does by itself, then ends; None for a standing server."""
    listening: Listening = field(default_factory=Listening)
    log_level: str = "info"
    termination_log: Path = Path("/dev/termination-log")
    device: str = "auto"
    index: int | None = None
    """Which pod of an Indexed Job this is."""


def read(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment. Raises SettingError with the variable, what it holds and the cure."""
    store = environment.get("KUBETUNER_STORE", "")
    if not store:
        raise SettingError("KUBETUNER_STORE: not set; give the object store, as s3://bucket/prefix")
    request = environment.get("KUBETUNER_REQUEST", "")
    return Settings(
        store=store,
        request=Path(request) if request else None,
        listening=listening(environment),
        log_level=_choice(environment, "KUBETUNER_LOG_LEVEL", "info", log.LEVELS),
        termination_log=Path(environment.get("KUBETUNER_TERMINATION_LOG") or "/dev/termination-log"),
        device=_choice(environment, "KUBETUNER_DEVICE", "auto", _DEVICES),
        index=whole(environment, "JOB_COMPLETION_INDEX", None),
    )


def whole(environment: Mapping[str, str], name: str, default: int | None, *, least: int = 0) -> int | None:
    """A whole number, at least `least`; `default` where the variable is not set."""
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise SettingError(f"{name}: {text!r} is no whole number from {least} on; correct it")
    return int(text)


def listening(environment: Mapping[str, str], *, name: str = "KUBETUNER_LISTEN", address: str = "[::]:8080") -> Listening:
    """Where a server listens; `name` is the variable of its address, `address` what it is where that is not set."""
    return Listening(
        address=environment.get(name) or address,
        health_address=environment.get("KUBETUNER_HEALTH_LISTEN", "[::]:8081"),
        tls=_tls(environment),
        reflection=switch(environment, "KUBETUNER_REFLECTION"),
    )


def _tls(environment: Mapping[str, str]) -> Tls | None:
    names = ("KUBETUNER_TLS_CERT", "KUBETUNER_TLS_KEY", "KUBETUNER_TLS_CLIENT_CA")
    given = {name: Path(environment[name]) for name in names if environment.get(name)}
    if not given:
        return None
    for name in names[:2]:
        if name not in given:
            raise SettingError(f"{name}: not set, though {next(iter(given))} is; give certificate and key together")
    for name, path in given.items():
        if not path.is_file():
            raise SettingError(f"{name}: {path} is no file; mount the certificate there, or correct the path")
    return Tls(certificate=given[names[0]], key=given[names[1]], client_authority=given.get(names[2]))


def switch(environment: Mapping[str, str], name: str) -> bool:
    """Whether a variable is on; off where it is not set."""
    text = environment.get(name, "").lower()
    if text not in _TRUE | _FALSE:
        raise SettingError(f"{name}: {text!r} is neither on nor off; give 1 or 0")
    return text in _TRUE


def _choice(environment: Mapping[str, str], name: str, default: str, known: tuple[str, ...]) -> str:
    text = environment.get(name) or default
    if text not in known:
        raise SettingError(f"{name}: {text!r} given; must be one of {', '.join(known)}")
    return text
