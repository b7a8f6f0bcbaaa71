"""Releases that the chart's tests look at: values by name."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from tests.chart import helm
from tests.chart.helm import Manifest

_STAGES: Final = ("ingest", "embed", "train", "evaluate")
RELEASES: Final[dict[str, dict[str, Any]]] = {
    # All that a first try needs.
    "trial": {"minio": {"enabled": True}},
    # What the issue's own command line gives.
    "own-store": {
        "objectStore": {"endpoint": "https://s3.example.com:9000", "auth": {"existingSecret": "s3"}},
        "tls": {"existingSecret": "tls"},
    },
    "no-inspection": {"objectStore": {"auth": {"existingSecret": "s3"}}, "inspection": {"enabled": False}},
    "no-service": {"objectStore": {"auth": {"existingSecret": "s3"}}, "runService": {"enabled": False}},
    # Everything that can be switched on.
    "whole": {
        "commonLabels": {"team": "pictures"},
        "watchNamespaces": ["team-a", "team-b"],
        "images": {"registry": "registry.example.com/team", "pullSecrets": ["pull"]},
        "objectStore": {
            "endpoint": "http://s3.example.com",
            "caBundle": {"existingSecret": "ca"},
            "auth": {"existingSecret": "s3"},
            "pathStyle": True,
        },
        "hub": {"endpoint": "https://hub.example.com", "token": {"existingSecret": "hub"}},
        "controller": {
            "replicas": 2,
            "priorityClassName": "high",
            "extraEnv": [{"name": "A", "value": "b"}],
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "system", "operator": "Exists"}],
        },
        "tls": {"certManager": {"enabled": True, "issuerRef": {"name": "ours"}}},
        "pods": {
            "labels": {"cost": "research"},
            "tls": {"existingSecret": "pods-tls"},
            "cache": {"claimName": "models"},
            "gpu": {"nodeSelector": {"gpu": "h200"}},
        },
        "standing": {"clientCA": {"existingSecret": "clients"}, **{stage: {"enabled": True} for stage in _STAGES}},
        "minio": {"enabled": True},
        "metrics": {"serviceMonitor": {"enabled": True}, "dashboard": {"enabled": True}},
    },
}


@cache
def rendered(name: str) -> tuple[Manifest, ...]:
    """All objects of one of these releases, rendered once."""
    return tuple(helm.render(RELEASES[name]))


def of_kind(name: str, *kinds: str) -> list[Manifest]:
    """Those objects of a release that are of these kinds."""
    return [one for one in rendered(name) if one["kind"] in kinds]


def pods(name: str) -> dict[str, Manifest]:
    """Pod templates of a release by the kind and the name of what makes them."""
    found = {f"{one['kind']}/{one['metadata']['name']}": one for one in of_kind(name, "Deployment", "StatefulSet", "Pod")}
    return {key: one if one["kind"] == "Pod" else one["spec"]["template"] for key, one in found.items()}
