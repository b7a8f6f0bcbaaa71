"""A run that is wrong: it is refused at `kubectl apply` with the field's name, or says in its status what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.kubectl import until
from tests.cluster.release import TEAM
from tests.cluster.scene import Scene

_LONG = "a-name-that-is-too-long-for-the-jobs-of-its-stages"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"train": {"maxStep": 5}}, ['unknown field "maxStep"', "spec.train"]),
        ({"train": {"maxSteps": -1}}, ["spec.train.maxSteps", "-1"]),
        ({"train": {"optimizer": {"type": "adamv"}}}, ["spec.train.optimizer.type", "adamv"]),
        ({"train": {"type": "lra"}}, ["spec.train.type", "lra"]),
        ({"train": {"batchSize": "two"}}, ["spec.train.batchSize"]),
        ({"train": {"lora": {"rank": 0}}}, ["spec.train.lora.rank"]),
        ({"datasets": []}, ["spec.datasets"]),
        ({"datasets": [{"id": "a", "source": {"uri": "store:a"}}, {"id": "a", "source": {"uri": "store:b"}}]}, ["spec.datasets"]),
        ({"evaluate": {"resolutions": ["64by64"]}}, ["spec.evaluate.resolutions"]),
        ({"compute": {"train": {"resources": {"gpus": -1}}}}, ["spec.compute.train.resources.gpus"]),
    ],
)
def test_wrong_field_is_refused_when_applied(scene: Scene, parts: dict[str, Any], words: list[str]) -> None:
    refusal = scene.kubectl.refusal(scene.document("wrong", **parts), namespace=TEAM)
    assert refusal
    assert not [word for word in words if word not in refusal], refusal


def test_long_name_is_refused_when_applied(scene: Scene) -> None:
    assert "45" in scene.kubectl.refusal(scene.document(_LONG), namespace=TEAM)


@pytest.mark.parametrize(
    ("resources", "missing"),
    [({"gpus": 16}, "nvidia.com/gpu"), ({"gpus": 1, "gpuResource": "example.com/npu"}, "example.com/npu")],
    ids=["too many", "no node's"],
)
def test_run_that_asks_for_gpus_that_no_node_has_says_so(scene: Scene, resources: dict[str, Any], missing: str) -> None:
    scene.apply("greedy", seed=5, compute={"ingest": {"resources": resources}})
    until(lambda: f"Insufficient {missing}" in str(scene.status("greedy")), "the reason in the run's status")
    scene.kubectl("--namespace", TEAM, "delete", "trainingrun", "greedy")


def test_dataset_that_is_not_there_fails_at_once(scene: Scene) -> None:
    scene.apply("nowhere", datasets=[{"id": "none", "source": {"uri": "nowhere"}, "resolution": 64, "resolutionType": "pixel_area"}])
    status = scene.until("nowhere", "Failed")
    assert "datasets/nowhere" in status["message"]
    assert list(scene.jobs("nowhere")) == ["nowhere-ingest-1"]  # the user's own error is not tried again
    scene.kubectl("--namespace", TEAM, "delete", "trainingrun", "nowhere")


def test_secret_that_is_not_there_is_named(scene: Scene) -> None:
    source = {"uri": "elsewhere", "secret": "not-there"}
    scene.apply("locked", datasets=[{"id": "none", "source": source, "resolution": 64, "resolutionType": "pixel_area"}])
    until(lambda: "not-there" in str(scene.status("locked").get("message")), "the Secret's name in the run's status")
    scene.kubectl("--namespace", TEAM, "delete", "trainingrun", "locked")
