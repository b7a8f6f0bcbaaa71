"""The face of the API server: what the controller asks of a cluster, in plain dicts. `cluster.py` answers it for real, a fake in tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

Json = dict[str, Any]

GROUP: Final = "kubetuner.dev"
VERSION: Final = f"{GROUP}/v1alpha1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of object, and where the API server serves it."""

    name: str
    """As in `kind:`."""
    group_version: str
    """As in `apiVersion:`."""
    plural: str

    @property
    def base(self) -> str:
        """Path of its group and version."""
        return f"/api/{self.group_version}" if "/" not in self.group_version else f"/apis/{self.group_version}"

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """Path of one object, of a namespace's, or of all."""
        parts = [
            self.base,
            *(["namespaces", namespace] if namespace else []),
            self.plural,
            *([name] if name else []),
            *([sub] if sub else []),
        ]
        return "/".join(parts)


RUN: Final = Kind(name="TrainingRun", group_version=VERSION, plural="trainingruns")
JOB: Final = Kind(name="Job", group_version="batch/v1", plural="jobs")
POD: Final = Kind(name="Pod", group_version="v1", plural="pods")
SERVICE: Final = Kind(name="Service", group_version="v1", plural="services")
LEASE: Final = Kind(name="Lease", group_version="coordination.k8s.io/v1", plural="leases")
EVENT: Final = Kind(name="Event", group_version="events.k8s.io/v1", plural="events")
TOKEN_REVIEW: Final = Kind(name="TokenReview", group_version="authentication.k8s.io/v1", plural="tokenreviews")
ACCESS_REVIEW: Final = Kind(name="SubjectAccessReview", group_version="authorization.k8s.io/v1", plural="subjectaccessreviews")


class ApiError(Exception):
    """The API server said no, or could not be reached (status 0)."""

    def __init__(self, status: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        """HTTP status; 0 where there was no answer."""
        self.reason = reason
        """As AlreadyExists, Conflict, NotFound, Expired, Invalid, Forbidden, Unreachable."""
        self.message = message
        self.details: Json = details or {}
        """`details` of the Status object: `causes` with `field` and `message` where an object is invalid."""
        self.retry_after = float(self.details.get("retryAfterSeconds", 0))
        """Seconds after which the server wants to be asked again; 0 where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a list."""

    items: list[Json]
    version: str
    """resourceVersion that a watch may go on from."""
    rest: str
    """Token of the next page; empty on the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One event of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: Json


class Cluster(Protocol):
    """Verbs on objects. All raise ApiError."""

    async def list(self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int = 500, rest: str = "") -> Page:
        """A page of objects; an empty namespace is all of them."""

    def watch(self, kind: Kind, namespace: str, *, labels: str = "", version: str, seconds: float) -> AsyncIterator[Change]:
        """Changes after a version, for about so many seconds. ApiError 410 where the version is too old."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """One object."""

    async def create(self, kind: Kind, namespace: str, body: Json, *, dry_run: bool = False) -> Json:
        """Make an object. ApiError 409 AlreadyExists where there is one of the name."""

    async def patch(self, kind: Kind, namespace: str, name: str, body: Json, *, sub: str = "") -> Json:
        """Merge into an object; `metadata.resourceVersion` in the body makes it conditional (409 Conflict)."""

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", foreground: bool = False) -> None:
        """Delete an object, only that with the uid where given; one that is not there is no error."""
