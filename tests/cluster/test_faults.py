"""Whatever happens to containers, nodes, controller and store in the middle of a run: it ends with the same bytes as undisturbed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.cluster.faults import strike
from tests.cluster.release import SYSTEM, TEAM
from tests.cluster.scene import STAGES, Scene

NAME, DRAINED = "shaken", "drained"
# Long enough that what is to happen in the middle of a training does, though the test stand still for a while after it saw it at work.
LAPTOP: Final[dict[str, dict[str, Any]]] = {
    NAME: {"train": {"maxSteps": 160, "checkpoint": {"everySteps": 10, "keep": 2}}},
    DRAINED: {"train": {"maxSteps": 240, "checkpoint": {"everySteps": 60, "keep": 2}}},
}
_GATES: Final = {stage: f"tests.kubetuner.dev/{stage}" for stage in STAGES}
"""Labels of nodes that take pods of a stage."""


@pytest.fixture
def shaken(scene: Scene) -> Callable[[], None]:
    """Starts the run from nothing, each stage waiting at its gate; what is returned waits for its end and compares."""
    scene.forget(NAME)
    scene.kubectl("label", "nodes", "--all", *(f"{gate}-" for gate in _GATES.values()))
    scene.apply(NAME, **LAPTOP[NAME], compute={stage: {"nodeSelector": {gate: "open"}} for stage, gate in _GATES.items()})

    return lambda: _ends_as(scene, NAME)


@pytest.fixture
def training(scene: Scene) -> Callable[[], None]:
    """The same, and its pictures were encoded by another run."""
    scene.forget(NAME, encoded=False)
    scene.apply(NAME, **LAPTOP[NAME])
    _in_training(scene, NAME)

    return lambda: _ends_as(scene, NAME)


def _ends_as(scene: Scene, name: str) -> None:
    """Wait for a run's end and compare with it undisturbed."""
    scene.until(name, "Succeeded", seconds=600)
    outcome, undisturbed = scene.outcome(name), scene.laptop.outcome(name)
    assert {noun: outcome.artifacts[noun] for noun in undisturbed.artifacts} == dict(undisturbed.artifacts)
    assert outcome.lora == undisturbed.lora


def _in_training(scene: Scene, name: str) -> str:
    """The pod that trains, once it has saved a checkpoint."""
    scene.until_trained(name, 12)
    return scene.until_pod(name, "train")


def _open(scene: Scene, stage: str) -> None:
    """Let nodes take the shaken run's pods of a stage."""
    scene.kubectl("label", "nodes", "--all", "--overwrite", f"{_GATES[stage]}=open")


@contextmanager
def _caught(scene: Scene, stage: str) -> Iterator[str]:
    """The running pod of a stage of the shaken run, which cannot end: no node took it before, and now the store answers nobody."""
    scene.until_pod(NAME, stage, "Pending")
    with scene.store.held():
        _open(scene, stage)
        yield scene.until_pod(NAME, stage)


def _retries(scene: Scene, name: str) -> int:
    """How many retries of its training a run was charged."""
    [row] = [row for row in scene.status(name)["stages"] if row["stage"] == "train"]
    return int(row.get("retries", 0))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_container_dies_in_each_stage(scene: Scene, shaken: Callable[[], None], number: int) -> None:
    for stage in STAGES:
        if stage == "train":
            _open(scene, stage)
            strike(scene.kubectl, TEAM, _in_training(scene, NAME), number)
        else:
            with _caught(scene, stage) as pod:
                strike(scene.kubectl, TEAM, pod, number)
    shaken()


def test_controller_dies_in_each_stage(scene: Scene, shaken: Callable[[], None]) -> None:
    for stage in STAGES:
        with _caught(scene, stage):
            [controller] = scene.release.controllers()
            strike(scene.kubectl, SYSTEM, controller)
    shaken()
    assert list(scene.jobs(NAME)) == [f"{NAME}-{stage}-1" for stage in STAGES]


def test_node_is_lost_while_it_trains(scene: Scene, training: Callable[[], None]) -> None:
    [pod] = scene.kubectl.list("pods", TEAM, f"kubetuner.dev/run={NAME},kubetuner.dev/stage=train")
    name = pod["spec"]["nodeName"]
    node = next(node for node in scene.release.cluster.nodes if node.name == name)
    node.power_off()
    try:
        scene.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{name}", "--timeout=300s")
        scene.kubectl("taint", "node", name, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
        training()
    finally:
        node.up()
        scene.kubectl.run("taint", "node", name, "node.kubernetes.io/out-of-service-", check=False)
        node.wait()
    assert _retries(scene, NAME) == 0


def test_node_is_drained_while_it_trains(scene: Scene) -> None:
    """As before maintenance: the pod is asked to end, saves its state, and another goes on elsewhere at no charge."""
    scene.forget(DRAINED, encoded=False)
    scene.apply(DRAINED, **LAPTOP[DRAINED])
    pod = scene.kubectl.get("pod", _in_training(scene, DRAINED), TEAM)
    assert pod is not None
    node, ours = pod["spec"]["nodeName"], f"kubetuner.dev/run={DRAINED}"
    try:
        scene.kubectl("drain", node, "--pod-selector", ours, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s")
        _ends_as(scene, DRAINED)
    finally:
        scene.kubectl("uncordon", node)
    [other] = scene.kubectl.list("pods", TEAM, f"{ours},kubetuner.dev/stage=train")
    assert other["spec"]["nodeName"] != node
    work = json.loads(other["status"]["containerStatuses"][0]["state"]["terminated"]["message"])["work"]
    assert 0 < work["stepsTrained"] < LAPTOP[DRAINED]["train"]["maxSteps"] - 12, "it goes on where the first was asked to end"
    assert _retries(scene, DRAINED) == 0


def test_store_is_away_for_a_minute(scene: Scene, training: Callable[[], None]) -> None:
    with scene.store.away():
        time.sleep(60)
    training()


def test_kubelets_are_restarted(scene: Scene, training: Callable[[], None]) -> None:
    """While a kubelet does not know its devices yet it turns away pods that were given it, so none are until both do."""
    nodes = scene.release.cluster.nodes
    names = [node.name for node in nodes]
    scene.kubectl("cordon", *names)
    try:
        for node in nodes:
            node.restart_kubelet()
        for node in nodes:
            node.wait()
    finally:
        scene.kubectl("uncordon", *names)
    training()
    assert {job.rsplit("-", 1)[1] for job in scene.jobs(NAME)} == {"1"}


def test_run_is_suspended_and_resumed(scene: Scene, training: Callable[[], None]) -> None:
    for suspend, phases in ((True, ("Suspended",)), (False, ("Running", "Pending", "Succeeded"))):
        scene.kubectl(
            "--namespace", TEAM, "patch", "trainingrun", NAME, "--type=merge", "--patch", json.dumps({"spec": {"suspend": suspend}})
        )
        scene.until(NAME, *phases)
        pods = scene.kubectl.list("pods", TEAM, f"kubetuner.dev/run={NAME}")
        if suspend:
            states = [one["state"] for pod in pods for one in pod["status"].get("containerStatuses", [])]
            assert not [state for state in states if "running" in state]
    training()
