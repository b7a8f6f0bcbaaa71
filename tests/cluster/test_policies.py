"""The chart's NetworkPolicies in force: every path that KubeTuner needs is open, and strangers are shut out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from tests.cluster.kubectl import until
from tests.cluster.policies import in_force
from tests.cluster.release import SYSTEM, TEAM, Release
from tests.cluster.workloads import single

_LISTENER: Final = "trains-for-policies"
_LISTENS: Final = 'import socket, time; kept = [socket.create_server(("", port)) for port in (8080, 29500)]; time.sleep(3600)'
_WAITS: Final = "import time; time.sleep(3600)"
# What is shut out hears nothing at all, so no answer within this is a no; what is let in answers, on a busy machine after a while.
_ASKS: Final = """
import json, socket
from concurrent.futures import ThreadPoolExecutor
def opens(place):
    try:
        socket.create_connection(place, 20).close()
        return True
    except OSError:
        return False
places = %r
with ThreadPoolExecutor(len(places)) as threads:
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
    listener = single(_LISTENER, _LISTENS, labels=_labels("train"))
    listener["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 29500}, "periodSeconds": 1}  # its last
    _make(release, listener)
    release.cluster.kubectl("--namespace", TEAM, "wait", "--for=condition=Ready", f"pod/{_LISTENER}", "--timeout=300s")
    address = _address(release, TEAM, _LISTENER)
    until(lambda: address in in_force(), "the policies of a pod that trains in force")
    yield {**_SERVICES, "stage": (address, 8080), "rank": (address, 29500)}
    release.cluster.kubectl("--namespace", TEAM, "delete", "pod", _LISTENER, "--wait=false")


@pytest.fixture(scope="module")
def answers(release: Release, places: Mapping[str, Any]) -> Iterator[Mapping[str, set[str]]]:
    """What opens to pods that ask all of them, by whose labels they have; they ask at once, since each that is shut out waits."""
    kubectl, names = release.cluster.kubectl, {who: f"{who or 'stranger'}-asks" for who in _OPEN if who != "controller"}
    _make(release, *(single(names[who], _WAITS, labels=_labels(who)) for who in names))
    kubectl("--namespace", TEAM, "wait", "--for=condition=Ready", *(f"pod/{name}" for name in names.values()), "--timeout=300s")
    chosen = {_address(release, TEAM, names[who]) for who in names if who}  # no policy speaks of the stranger
    until(lambda: chosen <= in_force(), "the policies of the stages in force")
    with ThreadPoolExecutor() as threads:
        yield dict(zip(names, threads.map(lambda who: _opens(release, TEAM, names[who], places), names), strict=True))
    kubectl("--namespace", TEAM, "delete", "pod", *names.values(), "--wait=false")


@pytest.mark.parametrize("who", [who for who in _OPEN if who != "controller"])
def test_pod_reaches_what_it_needs_and_no_more(answers: Mapping[str, set[str]], who: str) -> None:
    assert answers[who] == _OPEN[who]


def test_controller_reaches_what_it_needs_and_no_more(release: Release, places: Mapping[str, Any]) -> None:
    asked = {name: place for name, place in places.items() if name not in ("RunService", "metrics")}  # its own
    [controller] = release.controllers()
    until(lambda: _address(release, SYSTEM, controller) in in_force(), "the policies of the controller in force")
    assert _opens(release, SYSTEM, controller, asked) == _OPEN["controller"]


def _make(release: Release, *pods: dict[str, Any]) -> None:
    """Make pods anew, whatever an earlier session left."""
    kubectl = release.cluster.kubectl
    kubectl("--namespace", TEAM, "delete", "pod", *(pod["metadata"]["name"] for pod in pods), "--ignore-not-found")
    kubectl.apply(*pods, namespace=TEAM)


def _opens(release: Release, namespace: str, pod: str, places: Mapping[str, Any]) -> set[str]:
    """Which of the places open to a pod."""
    said = release.cluster.kubectl("--namespace", namespace, "exec", pod, "--", "python", "-c", _ASKS % places)
    found: dict[str, bool] = json.loads(said)
    return {place for place, opens in found.items() if opens}


def _address(release: Release, namespace: str, name: str) -> str:
    pod = release.cluster.kubectl.get("pod", name, namespace)
    assert pod is not None
    return str(pod["status"]["podIP"])


def _labels(stage: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "kubetuner", "app.kubernetes.io/component": stage} if stage else {}
