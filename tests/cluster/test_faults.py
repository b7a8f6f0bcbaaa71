"""Whatever happens to containers, nodes, controller and store in the middle of a run: it ends with the same bytes as undisturbed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.cluster.faults import strike
from tests.cluster.kubectl import until
from tests.cluster.release import SYSTEM, TEAM
from tests.cluster.scene import STAGES, Scene

NAME, DRAINED = "shaken", "drained"
LAPTOP: Final[dict[str, dict[str, Any]]] = {
    NAME: {"train": {"maxSteps": 80, "checkpoint": {"everySteps": 10, "keep": 2}}},
    DRAINED: {"train": {"maxSteps": 240, "checkpoint": {"everySteps": 60, "keep": 2}}},
}


@pytest.fixture
def shaken(scene: Scene) -> Callable[[], None]:
    """Starts the run from nothing; what is returned waits for its end and compares."""
    scene.forget(NAME)
    scene.apply(NAME, **LAPTOP[NAME])

    return lambda: _ends_as(scene, NAME)


@pytest.fixture
def training(scene: Scene) -> Callable[[], None]:
    """The same, and its pictures were encoded by another run."""
    scene.forget(NAME, encoded=False)
    scene.apply(NAME, **LAPTOP[NAME])
    _in_the_middle(scene)

    return lambda: _ends_as(scene, NAME)


def _ends_as(scene: Scene, name: str) -> None:
    """Wait for a run's end and compare with it undisturbed."""
    scene.until(name, "Succeeded", seconds=600)
    outcome, undisturbed = scene.outcome(name), scene.laptop.outcome(name)
    assert {noun: outcome.artifacts[noun] for noun in undisturbed.artifacts} == dict(undisturbed.artifacts)
    assert outcome.lora == undisturbed.lora


def _in_the_middle(scene: Scene, stage: str = "train", name: str = NAME) -> str:
    """The stage's pod, once it is at work."""
    pod = scene.until_pod(name, stage)
    if stage == "train":
        until(lambda: (scene.status(name).get("progress") or {}).get("done", 0) >= 12, "a saved checkpoint", 120)
    return pod


def _retries(scene: Scene, name: str) -> int:
    """How many retries of its training a run was charged."""
    [row] = [row for row in scene.status(name)["stages"] if row["stage"] == "train"]
    return int(row.get("retries", 0))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_container_dies_in_each_stage(scene: Scene, shaken: Callable[[], None], number: int) -> None:
    for stage in STAGES:
        strike(scene.kubectl, TEAM, _in_the_middle(scene, stage), number)
    shaken()


def test_controller_dies_in_each_stage(scene: Scene, shaken: Callable[[], None]) -> None:
    for stage in STAGES:
        scene.until_pod(NAME, stage)
        controllers = scene.kubectl.list("pods", SYSTEM, "app.kubernetes.io/component=controller")
        strike(scene.kubectl, SYSTEM, controllers[0]["metadata"]["name"])
    shaken()
    assert list(scene.jobs(NAME)) == [f"{NAME}-{stage}-1" for stage in STAGES]


def test_node_is_lost_while_it_trains(scene: Scene, training: Callable[[], None]) -> None:
    [pod] = scene.kubectl.list("pods", TEAM, f"kubetuner.dev/run={NAME},kubetuner.dev/stage=train")
    name = pod["spec"]["nodeName"]
    node = next(node for node in scene.release.cluster.nodes if node.name == name)
    node.power_off()
    try:
        scene.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{name}", "--timeout=60s")
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
    pod = scene.kubectl.get("pod", _in_the_middle(scene, name=DRAINED), TEAM)
    assert pod is not None
    node, ours = pod["spec"]["nodeName"], f"kubetuner.dev/run={DRAINED}"
    try:
        scene.kubectl("drain", node, "--pod-selector", ours, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
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
    for node in scene.release.cluster.nodes:
        node.restart_kubelet()
    training()
    assert {job.rsplit("-", 1)[1] for job in scene.jobs(NAME)} == {"1"}


def test_run_is_suspended_and_resumed(scene: Scene, training: Callable[[], None]) -> None:
    for suspend, phases in ((True, ("Suspended",)), (False, ("Running", "Pending"))):
        scene.kubectl(
            "--namespace", TEAM, "patch", "trainingrun", NAME, "--type=merge", "--patch", json.dumps({"spec": {"suspend": suspend}})
        )
        scene.until(NAME, *phases)
        pods = scene.kubectl.list("pods", TEAM, f"kubetuner.dev/run={NAME}")
        if suspend:
            assert not [pod for pod in pods if pod["status"]["phase"] == "Running"]
    training()
