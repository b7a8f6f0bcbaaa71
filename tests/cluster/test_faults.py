"""Whatever happens to containers, nodes, controller and store in the middle of a run: it ends with the same bytes as undisturbed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable

import pytest

from tests.cluster.faults import strike
from tests.cluster.kubectl import until
from tests.cluster.release import SYSTEM, TEAM
from tests.cluster.scene import STAGES, Outcome, Scene

NAME = "shaken"
STEPS = 60
TRAIN = {"maxSteps": STEPS, "checkpoint": {"everySteps": 10, "keep": 2}}


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> Outcome:
    return scene.laptop(NAME, train=TRAIN)


@pytest.fixture
def shaken(scene: Scene, undisturbed: Outcome) -> Callable[[], None]:
    """Starts the run from nothing; what is returned waits for its end and compares."""
    scene.forget(NAME)
    scene.apply(NAME, train=TRAIN)

    return lambda: _ends_as(scene, NAME, undisturbed)


def _ends_as(scene: Scene, name: str, undisturbed: Outcome) -> None:
    """Wait for a run's end and compare."""
    scene.until(name, "Succeeded", seconds=600)
    outcome = scene.outcome(name)
    assert {noun: outcome.artifacts[noun] for noun in undisturbed.artifacts} == dict(undisturbed.artifacts)
    assert outcome.lora == undisturbed.lora


def _in_the_middle(scene: Scene, stage: str = "train", name: str = NAME) -> str:
    """The stage's pod, once it is at work."""
    pod = scene.until_pod(name, stage)
    if stage == "train":
        until(lambda: (scene.status(name).get("progress") or {}).get("done", 0) >= 12, "a saved checkpoint", 120)
    return pod


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


def test_node_is_lost_while_it_trains(scene: Scene, shaken: Callable[[], None]) -> None:
    pod = scene.kubectl.get("pod", _in_the_middle(scene), TEAM)
    assert pod is not None
    name = pod["spec"]["nodeName"]
    node = next(node for node in scene.release.cluster.nodes if node.name == name)
    node.power_off()
    try:
        scene.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{name}", "--timeout=60s")
        scene.kubectl("taint", "node", name, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
        shaken()
    finally:
        node.up()
        scene.kubectl.run("taint", "node", name, "node.kubernetes.io/out-of-service-", check=False)
        node.wait()


def test_node_is_drained_while_it_trains(scene: Scene) -> None:
    """As before maintenance: the pod is asked to end, saves its state, and another goes on elsewhere at no charge."""
    name, steps = "drained", 400
    train = {"maxSteps": steps, "checkpoint": {"everySteps": 100, "keep": 2}}
    undisturbed = scene.laptop(name, train=train)
    scene.forget(name)
    scene.apply(name, train=train)
    pod = scene.kubectl.get("pod", _in_the_middle(scene, name=name), TEAM)
    assert pod is not None
    node, ours = pod["spec"]["nodeName"], f"kubetuner.dev/run={name}"
    try:
        scene.kubectl("drain", node, "--pod-selector", ours, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
        _ends_as(scene, name, undisturbed)
    finally:
        scene.kubectl("uncordon", node)
    [other] = scene.kubectl.list("pods", TEAM, f"{ours},kubetuner.dev/stage=train")
    assert other["spec"]["nodeName"] != node
    work = json.loads(other["status"]["containerStatuses"][0]["state"]["terminated"]["message"])["work"]
    assert 0 < work["stepsTrained"] < steps - 12, "it goes on where the first was asked to end"
    rows = {row["stage"]: row for row in scene.status(name)["stages"]}
    assert rows["train"].get("retries", 0) == 0


def test_store_is_away_for_a_minute(scene: Scene, shaken: Callable[[], None]) -> None:
    _in_the_middle(scene)
    with scene.store.away():
        time.sleep(60)
    shaken()


def test_kubelets_are_restarted(scene: Scene, shaken: Callable[[], None]) -> None:
    _in_the_middle(scene)
    for node in scene.release.cluster.nodes:
        node.restart_kubelet()
    shaken()
    assert list(scene.jobs(NAME)) == [f"{NAME}-{stage}-1" for stage in STAGES]


def test_run_is_suspended_and_resumed(scene: Scene, shaken: Callable[[], None]) -> None:
    _in_the_middle(scene)
    for suspend, phases in ((True, ("Suspended",)), (False, ("Running", "Pending"))):
        scene.kubectl(
            "--namespace", TEAM, "patch", "trainingrun", NAME, "--type=merge", "--patch", json.dumps({"spec": {"suspend": suspend}})
        )
        scene.until(NAME, *phases)
        pods = scene.kubectl.list("pods", TEAM, f"kubetuner.dev/run={NAME}")
        if suspend:
            assert not [pod for pod in pods if pod["status"]["phase"] == "Running"]
    shaken()
