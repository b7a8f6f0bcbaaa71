"""The chart over its life: tested by helm, upgraded, rolled back, taken away and installed again; runs and data stay."""

from __future__ import annotations

from tests.cluster.kubectl import until
from tests.cluster.release import SYSTEM, TEAM, Release
from tests.cluster.scene import Scene


def _ready(release: Release) -> int:
    found = release.cluster.kubectl.get("deployment", "kubetuner-controller", SYSTEM)
    return (found or {}).get("status", {}).get("readyReplicas", 0)


def test_helm_test_passes(release: Release) -> None:
    assert "Phase:          Succeeded" in release.helm("test", "kubetuner", "--timeout", "90s")


def test_upgrade_and_rollback(release: Release) -> None:
    release.install(controller={"replicas": 2})
    until(lambda: _ready(release) == 2, "two controllers")
    release.helm("rollback", "kubetuner", "--wait", "--timeout", "90s")
    until(lambda: _ready(release) == 1, "one controller")


def test_second_controller_takes_over(release: Release) -> None:
    release.install(controller={"replicas": 2})
    kubectl = release.cluster.kubectl

    def holder() -> str:
        leases = kubectl.list("leases", SYSTEM)
        return next((lease["spec"].get("holderIdentity") or "" for lease in leases), "")

    first = until(holder, "a leader")
    kubectl("--namespace", SYSTEM, "delete", "pod", first, "--wait=false")
    until(lambda: holder() not in ("", first), "another leader", 20)
    release.install()


def test_uninstalling_leaves_runs_and_data(scene: Scene) -> None:
    scene.kubectl.apply(scene.document("kept", suspend=True), namespace=TEAM)
    before = {found.key for found in scene.store.store().list("")}
    scene.release.uninstall()
    try:
        assert scene.kubectl.get("trainingrun", "kept", TEAM) is not None
        assert before <= {found.key for found in scene.store.store().list("")}
    finally:
        scene.release.install()
    scene.until("kept", "Suspended", seconds=60)
    scene.kubectl("--namespace", TEAM, "delete", "trainingrun", "kept")
