"""The chart's NetworkPolicies in force: every path that KubeTuner needs is open, and strangers are shut out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from tests.cluster.kubectl import until
from tests.cluster.release import SYSTEM, TEAM, Release
from tests.cluster.workloads import single

_LISTENER: Final = "trains-for-policies"
_LISTENS: Final = 'import socket, time; kept = [socket.create_server(("", port)) for port in (8080, 29500)]; time.sleep(600)'
# The wait: a network plugin needs a moment to hear of a pod's address.
_ASKS: Final = """
import json, socket, time
from concurrent.futures import ThreadPoolExecutor
def opens(place):
    try:
        socket.create_connection(place, 1.5).close()
        return True
    except OSError:
        return False
time.sleep(3)
places = %r
with ThreadPoolExecutor() as threads:
    print(json.dumps(dict(zip(places, threads.map(opens, map(tuple, places.values()))))))
"""
_SERVICES: Final = {
    "store": ("minio.minio", 9000),
    "API server": ("kubernetes.default", 443),
    "RunService": (f"kubetuner.{SYSTEM}", 443),
    "metrics": (f"kubetuner-metrics.{SYSTEM}", 8080),
}
# Who asks (a stage by its label; nobody's, or the controller itself) -> what opens to it; all else does not.
_OPEN: Final = {
    "ingest": {"store"},
    "embed": {"store"},
    "train": {"store", "stage", "rank"},
    "evaluate": {"store"},
    "": {"store", "API server", "RunService"},
    "controller": {"store", "API server", "stage"},
}


@pytest.fixture(scope="module")
def places(release: Release) -> Iterator[Mapping[str, tuple[str, int]]]:
    """The addresses that are asked: services, and a pod with the labels of one that trains."""
    release.cluster.kubectl.apply(single(_LISTENER, _LISTENS, labels=_labels("train")), namespace=TEAM)
    release.cluster.kubectl("--namespace", TEAM, "wait", "--for=condition=Ready", f"pod/{_LISTENER}", "--timeout=60s")
    pod = release.cluster.kubectl.get("pod", _LISTENER, TEAM)
    assert pod is not None
    address = pod["status"]["podIP"]
    yield {**_SERVICES, "stage": (address, 8080), "rank": (address, 29500)}
    release.cluster.kubectl("--namespace", TEAM, "delete", "pod", _LISTENER, "--wait=false")


@pytest.fixture(scope="module")
def askers(release: Release, places: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    """Pods that ask all of them, by whose labels they have; they ask at once, since each that is shut out waits."""
    names = {who: f"{who or 'stranger'}-asks" for who in _OPEN if who != "controller"}
    release.cluster.kubectl.apply(*(single(names[who], _ASKS % places, labels=_labels(who)) for who in names), namespace=TEAM)
    yield names
    release.cluster.kubectl("--namespace", TEAM, "delete", "pod", *names.values(), "--wait=false")


@pytest.mark.parametrize("who", [who for who in _OPEN if who != "controller"])
def test_pod_reaches_what_it_needs_and_no_more(release: Release, askers: Mapping[str, str], who: str) -> None:
    until(lambda: _phase(release, askers[who]) == "Succeeded", f"the end of {askers[who]}")
    found: dict[str, bool] = json.loads(release.cluster.kubectl("--namespace", TEAM, "logs", askers[who]))
    assert {place for place, opens in found.items() if opens} == _OPEN[who]


def test_controller_reaches_what_it_needs_and_no_more(release: Release, places: Mapping[str, Any]) -> None:
    asked = {name: place for name, place in places.items() if name not in ("RunService", "metrics")}  # its own
    command = ["exec", "deployment/kubetuner-controller", "--", "python", "-c", _ASKS % asked]
    found: dict[str, bool] = json.loads(release.cluster.kubectl("--namespace", SYSTEM, *command))
    assert {place for place, opens in found.items() if opens} == _OPEN["controller"]


def _phase(release: Release, name: str) -> str:
    pod = release.cluster.kubectl.get("pod", name, TEAM)
    return pod["status"]["phase"] if pod else ""


def _labels(stage: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "kubetuner", "app.kubernetes.io/component": stage} if stage else {}
