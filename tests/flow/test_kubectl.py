"""The same run by kubectl, as any user and without containers: our chart on a real control plane, with pods that are processes.

What containers, two nodes and policies add is tested in tests/cluster.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.cluster import binaries
from tests.cluster.kubectl import until
from tests.cluster.laptop import Laptop
from tests.cluster.process_cluster import ProcessCluster
from tests.cluster.processes import sweep
from tests.cluster.release import TEAM, Release
from tests.cluster.scene import STAGES, Scene

pytestmark = [pytest.mark.needs(thing) for thing in ("apiserver", "minio", "helm")]
RUN: Final = "applied"
PARTS: Final[dict[str, Any]] = {"train": {"maxSteps": 200, "checkpoint": {"everySteps": 10, "keep": 2}}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The chart on a cluster of processes, and data and model in its store; the same run goes on a laptop meanwhile."""
    laptop = Laptop(folder=tmp_path_factory.mktemp("laptop"))
    laptop.prepare()
    laptop.begin({RUN: PARTS})
    try:
        binaries.build("minio")
        with ProcessCluster(folder=tmp_path_factory.mktemp("cluster")) as cluster:
            release = Release(cluster=cluster)
            release.install()
            scene = Scene(release=release, laptop=laptop)
            scene.prepare()
            yield scene
    finally:
        laptop.close()


def test_run_by_kubectl_gives_what_a_laptop_gives(scene: Scene) -> None:
    """Suspended in the middle of its training and resumed."""
    scene.apply(RUN, **PARTS)
    scene.until_trained(RUN, 12)
    for suspend, phases in ((True, ("Suspended",)), (False, ("Running", "Succeeded"))):
        patch = json.dumps({"spec": {"suspend": suspend}})
        scene.kubectl("--namespace", TEAM, "patch", "trainingrun", RUN, "--type=merge", "--patch", patch)
        scene.until(RUN, *phases)
    scene.until(RUN, "Succeeded")
    outcome, alone = scene.outcome(RUN), scene.laptop.outcome(RUN)
    assert {noun: outcome.artifacts[noun] for noun in alone.artifacts} == dict(alone.artifacts)
    assert outcome.lora == alone.lora


def test_second_run_on_the_same_data_starts_no_embed_pod(scene: Scene) -> None:
    """And takes GPUs one after the other, as the scheduler gives them out."""
    scene.apply("second", train={"lora": {"rank": 4}})
    scene.until("second", "Succeeded")
    assert list(scene.jobs("second")) == [f"second-{stage}-1" for stage in STAGES if stage != "embed"]
    pods = scene.kubectl.list("pods", TEAM, "kubetuner.dev/run=second,kubetuner.dev/stage=train")
    assert [pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] for pod in pods] == ["1"]


def test_pod_with_a_secret_that_is_not_there_waits_in_words(scene: Scene) -> None:
    source = {"uri": "elsewhere", "secret": "not-there"}
    scene.apply("locked", datasets=[{"id": "none", "source": source, "resolution": 64, "resolutionType": "pixel_area"}])
    until(lambda: "not-there" in str(scene.status("locked").get("message")), "the Secret's name in the run's status")
    scene.kubectl("--namespace", TEAM, "delete", "trainingrun", "locked")


def test_nothing_is_left_of_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    with ProcessCluster(folder=tmp_path_factory.mktemp("brief")) as cluster:
        cluster.kubectl("get", "nodes")
        cluster.node.signal(signal.SIGKILL)
    assert sweep(cluster.folder) == 0
    assert not [part.name for part in cluster.parts if part.pid]
