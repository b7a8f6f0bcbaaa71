"""The same TrainingRun on the cluster as on a laptop: by kubectl, helm and S3 only."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.cluster.laptop import Laptop, Outcome
from tests.cluster.release import TEAM
from tests.cluster.scene import STAGES, Scene

LAPTOP: Final[dict[str, dict[str, Any]]] = {"first": {}}


@pytest.fixture(scope="module")
def first(scene: Scene) -> Outcome:
    scene.apply("first")
    scene.until("first", "Succeeded")
    return scene.outcome("first")


def test_applied_run_makes_what_a_laptop_makes(laptop: Laptop, first: Outcome) -> None:
    alone = laptop.outcome("first")
    assert {noun: first.artifacts.get(noun) for noun in alone.artifacts} == dict(alone.artifacts)
    assert first.lora == alone.lora


def test_each_stage_was_one_job(scene: Scene, first: Outcome) -> None:
    assert list(scene.jobs("first")) == [f"first-{stage}-1" for stage in STAGES]


def test_second_run_on_the_same_data_encodes_nothing(scene: Scene, first: Outcome) -> None:
    scene.apply("second", train={"lora": {"rank": 4}})
    scene.until("second", "Succeeded")
    assert not [job for job in scene.jobs("second") if "-embed-" in job]
    assert scene.outcome("second").artifacts["cache"] == first.artifacts["cache"]


def test_run_is_shown_in_columns(scene: Scene, first: Outcome) -> None:
    head, *rows = scene.kubectl("--namespace", TEAM, "get", "trainingruns").splitlines()
    assert head.split() == ["NAME", "PHASE", "STAGE", "STEP", "LOSS", "ETA", "AGE"]
    assert any(row.split()[:2] == ["first", "Succeeded"] for row in rows)
