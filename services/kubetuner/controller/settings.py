"""What the controller is told by its environment, checked at the start; errors name the variable.

KUBETUNER_NAMESPACE            namespace of the controller itself, where its Lease is
KUBETUNER_WATCH_NAMESPACES     namespaces whose runs it works on, with commas; empty is all
KUBETUNER_IDENTITY             name of this replica in the Lease; default the host's name
KUBETUNER_KUBECONFIG           file to reach the cluster by; empty is the pod's own account
KUBETUNER_STORE                s3://bucket/prefix, passed on to the stages; endpoint and keys as storage/access.py reads them
KUBETUNER_STORE_SECRET         Secret with accessKey and secretKey in each run's namespace, for the stages
KUBETUNER_IMAGES_INGEST, KUBETUNER_IMAGES_STAGE     images of the stages
KUBETUNER_POD_DEFAULTS         YAML file from the chart (defaults.py tells its fields); empty is none
KUBETUNER_WORKERS              reconciliations at once (20)
KUBETUNER_PROGRESS_SECONDS     least time between two status writes for progress alone (5)
KUBETUNER_RETRY_SECONDS        pause before the first retry of a stage; doubles up to 36 times it (10)
KUBETUNER_LEASE_NAME (kubetuner-controller), _SECONDS (15), _RENEW_SECONDS (10), _RETRY_SECONDS (2)
KUBETUNER_FEED_CA, _CERT, _KEY     files by which the controller and the pods' servers know each other; unset is plain text
KUBETUNER_FEED_NAME            name in the pods' certificate (kubetuner-stage)
KUBETUNER_HEALTH_LISTEN ([::]:8081), KUBETUNER_METRICS_LISTEN ([::]:8080), KUBETUNER_LOG_LEVEL (info)
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kubetuner.controller.defaults import PodDefaults, read_defaults
from kubetuner.controller.feed import FeedTls
from kubetuner.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Times of the election."""

    name: str = "kubetuner-controller"
    seconds: float = 15.0
    renew: float = 10.0
    retry: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """What the pods of the stages are made with."""

    store: str
    store_secret: str
    endpoint: str
    region: str
    ingest_image: str
    stage_image: str
    defaults: PodDefaults

    def image(self, stage: str) -> str:
        """Image of a stage; ingest has one without torch."""
        return self.ingest_image if stage == "ingest" else self.stage_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the controller."""

    namespace: str
    watch_namespaces: tuple[str, ...]
    """Empty for all."""
    identity: str
    kubeconfig: str
    stages: StageSettings
    lease: LeaseSettings
    feed_tls: FeedTls | None
    workers: int
    progress_seconds: float
    retry_seconds: float
    health_listen: str
    metrics_listen: str
    log_level: str


def read(environment: Mapping[str, str]) -> Settings:
    """Settings of an environment. Raises InputError with the name of the variable."""
    stages = StageSettings(
        store=_needed(environment, "KUBETUNER_STORE", "s3://bucket/prefix"),
        store_secret=environment.get("KUBETUNER_STORE_SECRET", ""),
        endpoint=environment.get("KUBETUNER_S3_ENDPOINT", ""),
        region=environment.get("AWS_REGION", ""),
        ingest_image=_needed(environment, "KUBETUNER_IMAGES_INGEST", "an image"),
        stage_image=_needed(environment, "KUBETUNER_IMAGES_STAGE", "an image"),
        defaults=_defaults(environment),
    )
    lease = LeaseSettings(
        name=environment.get("KUBETUNER_LEASE_NAME") or LeaseSettings().name,
        seconds=_number(environment, "KUBETUNER_LEASE_SECONDS", 15.0),
        renew=_number(environment, "KUBETUNER_LEASE_RENEW_SECONDS", 10.0),
        retry=_number(environment, "KUBETUNER_LEASE_RETRY_SECONDS", 2.0),
    )
    if not lease.retry < lease.renew < lease.seconds:
        raise InputError(
            f"KUBETUNER_LEASE_SECONDS: {lease.seconds:g}; it must be more than KUBETUNER_LEASE_RENEW_SECONDS ({lease.renew:g}), "
            f"and that more than KUBETUNER_LEASE_RETRY_SECONDS ({lease.retry:g})"
        )
    watched = tuple(part.strip() for part in environment.get("KUBETUNER_WATCH_NAMESPACES", "").split(",") if part.strip())
    return Settings(
        namespace=_needed(environment, "KUBETUNER_NAMESPACE", "the controller's own namespace"),
        watch_namespaces=watched,
        identity=environment.get("KUBETUNER_IDENTITY") or socket.gethostname(),
        kubeconfig=environment.get("KUBETUNER_KUBECONFIG", ""),
        stages=stages,
        lease=lease,
        feed_tls=_feed_tls(environment),
        workers=int(_number(environment, "KUBETUNER_WORKERS", 20)),
        progress_seconds=_number(environment, "KUBETUNER_PROGRESS_SECONDS", 5.0),
        retry_seconds=_number(environment, "KUBETUNER_RETRY_SECONDS", 10.0),
        health_listen=environment.get("KUBETUNER_HEALTH_LISTEN") or "[::]:8081",
        metrics_listen=environment.get("KUBETUNER_METRICS_LISTEN") or "[::]:8080",
        log_level=environment.get("KUBETUNER_LOG_LEVEL") or "info",
    )


def _feed_tls(environment: Mapping[str, str]) -> FeedTls | None:
    names = [f"KUBETUNER_FEED_{part}" for part in ("CA", "CERT", "KEY")]
    given = [environment.get(name, "") for name in names]
    if not any(given):
        return None
    if missing := [name for name, value in zip(names, given, strict=True) if not value]:
        raise InputError(f"{missing[0]}: not set, but others of {', '.join(names)} are; set all three or none")
    authority, certificate, key = (Path(value) for value in given)
    return FeedTls(authority=authority, certificate=certificate, key=key, name=environment.get("KUBETUNER_FEED_NAME") or "kubetuner-stage")


def _needed(environment: Mapping[str, str], name: str, what: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise InputError(f"{name}: not set; give {what}")
    return value


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        raise InputError(f"{name}: {text!r} is no number") from None
    if not 0 < value < 1e6:
        raise InputError(f"{name}: {text!r}; give a number above 0")
    return value


def _defaults(environment: Mapping[str, str]) -> PodDefaults:
    path = environment.get("KUBETUNER_POD_DEFAULTS", "")
    if not path:
        return PodDefaults()
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        raise InputError(f"KUBETUNER_POD_DEFAULTS: {path} cannot be read ({error.strerror})") from error
    return read_defaults(text, f"KUBETUNER_POD_DEFAULTS ({path})")
