"""A run that waits in a queue as Kueue keeps it, and one whose stages are each done by two pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest
from safetensors.numpy import load

from tests.cluster.kubectl import until
from tests.cluster.laptop import Laptop
from tests.cluster.release import TEAM
from tests.cluster.scene import Scene
from tests.cluster.workloads import job

PAIR: Final[dict[str, Any]] = {"seed": 12, "train": {"batchSize": 4, "maxSteps": 6}}
LAPTOP: Final = {"pair": PAIR}
_QUEUE = "kueue.x-k8s.io/queue-name"


@pytest.fixture
def queue(scene: Scene) -> Iterator[str]:
    """Jobs with a queue's name are suspended as they are made: what Kueue's webhook does."""
    api, name = "admissionregistration.k8s.io/v1", {"name": "queued-jobs-wait"}
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    patch = '[JSONPatch{op: "add", path: "/spec/suspend", value: true}]'
    policy: dict[str, Any] = {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "queued", "expression": f"'{_QUEUE}' in object.metadata.?labels.orValue({{}})"}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
    }
    scene.kubectl.apply(
        {"apiVersion": api, "kind": "MutatingAdmissionPolicy", "metadata": name, "spec": policy},
        {"apiVersion": api, "kind": "MutatingAdmissionPolicyBinding", "metadata": name, "spec": {"policyName": name["name"]}},
    )
    probe = job("probe", "pass")
    probe["metadata"]["labels"] = {_QUEUE: "any"}
    create = ["--namespace", TEAM, "create", "--dry-run=server", "-f", "-", "-o", "jsonpath={.spec.suspend}"]
    until(lambda: scene.kubectl.run(*create, stdin=json.dumps(probe)).stdout == "true", "the policy in force")
    yield "team-queue"
    scene.kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name["name"])


def test_queued_stage_starts_where_the_queue_lets_it(scene: Scene, queue: str) -> None:
    scene.apply("queued", seed=11, queue=queue)
    scene.until("queued", "Queued")
    made = until(lambda: next(iter(scene.jobs("queued")), None), "a Job of the run")
    assert not scene.kubectl.list("pods", TEAM, "kubetuner.dev/run=queued")
    template = {"spec": {"nodeSelector": {"kubernetes.io/hostname": "node2"}}}
    scene.kubectl("--namespace", TEAM, "patch", "job", made, "--type=merge", "--patch", json.dumps({"spec": {"template": template}}))
    scene.kubectl("--namespace", TEAM, "patch", "job", made, "--type=merge", "--patch", json.dumps({"spec": {"suspend": False}}))
    until(lambda: "manifest" in scene.status("queued").get("artifacts", {}), "the first stage's end")
    pods = scene.kubectl.list("pods", TEAM, "kubetuner.dev/run=queued,kubetuner.dev/stage=ingest")
    assert [pod["spec"]["nodeName"] for pod in pods] == ["node2"]
    scene.kubectl("--namespace", TEAM, "delete", "trainingrun", "queued")


def test_two_pods_of_a_stage_make_what_one_makes(scene: Scene, laptop: Laptop) -> None:
    """Data in two parts, and a training on both nodes at once."""
    scene.forget("pair")  # and what others have counted and encoded
    for node in scene.release.cluster.nodes:
        node.wait()
    scene.apply("pair", **PAIR, compute={"ingest": {"shards": 2}, "embed": {"shards": 2}, "train": {"nodes": 2}})
    scene.until("pair", "Succeeded")
    for stage in ("ingest", "embed"):
        assert len(scene.kubectl.list("pods", TEAM, f"kubetuner.dev/run=pair,kubetuner.dev/stage={stage}")) == 2
    outcome, undivided = scene.outcome("pair"), laptop.outcome("pair")
    assert [outcome.artifacts[noun] for noun in ("manifest", "cache")] == [undivided.artifacts[noun] for noun in ("manifest", "cache")]
    pods = scene.kubectl.list("pods", TEAM, "kubetuner.dev/run=pair,kubetuner.dev/stage=train")
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node1", "node2"}
    together, alone = load(outcome.lora), load(undivided.lora)
    assert together.keys() == alone.keys()
    for name, tensor in alone.items():
        np.testing.assert_allclose(together[name], tensor, rtol=1e-3, atol=1e-5, err_msg=name)
