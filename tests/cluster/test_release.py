"""The chart over its life: tested by helm, upgraded, rolled back, taken away and installed again; runs and data stay."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from tests.cluster.door import Door
from tests.cluster.images import IMAGES
from tests.cluster.kubectl import until
from tests.cluster.laptop import LORA, Laptop
from tests.cluster.release import SYSTEM, TEAM, Release
from tests.cluster.scene import Scene

LAPTOP: Final = {"trial": {"seed": 22}}
_OWN_STORE: Final = {
    "objectStore": {"endpoint": "", "auth": {"existingSecret": ""}},
    "minio": {
        "enabled": True,
        "image": {"registry": "localhost", **dict(zip(("repository", "tag"), IMAGES["minio"].tag.split("/")[1].split(":"), strict=True))},
        "command": ["/usr/bin/minio"],
        "persistence": {"enabled": False},
    },
}


def _ready(release: Release) -> int:
    found = release.cluster.kubectl.get("deployment", "kubetuner-controller", SYSTEM)
    return (found or {}).get("status", {}).get("readyReplicas", 0)


def test_helm_test_passes(release: Release) -> None:
    assert "Phase:          Succeeded" in release.helm("test", "kubetuner", "--timeout", "10m")


def test_upgrade_and_rollback(release: Release) -> None:
    release.install(controller={"replicas": 2})
    until(lambda: _ready(release) == 2, "two controllers")
    release.helm("rollback", "kubetuner", "--wait", "--timeout", "10m")
    until(lambda: _ready(release) == 1, "one controller")


def test_second_controller_takes_over(release: Release) -> None:
    release.install(controller={"replicas": 2})
    kubectl = release.cluster.kubectl

    def holder() -> str:
        leases = kubectl.list("leases", SYSTEM)
        return next((lease["spec"].get("holderIdentity") or "" for lease in leases), "")

    first = until(lambda: next((name for name in release.controllers() if name == holder()), None), "a leader that stays")
    kubectl("--namespace", SYSTEM, "delete", "pod", first, "--wait=false")
    until(lambda: holder() not in ("", first), "another leader")
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
    scene.until("kept", "Suspended")
    scene.kubectl("--namespace", TEAM, "delete", "trainingrun", "kept")


def test_trial_with_the_store_that_the_chart_brings(scene: Scene, laptop: Laptop, tmp_path: Path) -> None:
    """NOTES, step by step: its keys brought to the runs' namespace, data pushed, a run, its files."""
    release, kubectl = scene.release, scene.kubectl
    release.install(**_OWN_STORE)
    try:
        keys = kubectl.get("secret", "kubetuner-minio", SYSTEM)
        assert keys is not None
        kubectl.apply({**keys, "metadata": {"name": keys["metadata"]["name"]}}, namespace=TEAM)
        door = Door.of(release, tmp_path)
        door.admit("trier")
        for kind, folder in (("datasets", "photographs"), ("models", "tiny-sdxl")):
            door.kubetuner("trier", "push", scene.folder / folder, f"{kind}/{folder}")
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(scene.document("trial", seed=22)))
        kubectl("--namespace", TEAM, "apply", "-f", tmp_path / "run.yaml")
        scene.until("trial", "Succeeded")
        door.kubetuner("trier", "outputs", "trial", "-o", tmp_path / "out")
        assert (tmp_path / "out" / LORA).read_bytes() == laptop.outcome("trial").lora
    finally:
        kubectl("--namespace", TEAM, "delete", "trainingrun", "trial", "--ignore-not-found")
        release.install()
