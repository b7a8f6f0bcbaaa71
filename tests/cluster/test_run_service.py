"""RunService from outside the cluster, by real grpcurl, grpc-health-probe and our client: TLS, tokens, and the caller's own rights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cluster.door import Door
from tests.cluster.release import SYSTEM, TEAM
from tests.cluster.scene import LORA, Scene


@pytest.fixture(scope="module")
def user(door: Door) -> str:
    """An account that may edit the team's runs."""
    door.admit("user")
    return "user"


def test_account_with_rights_lists_runs(door: Door, user: str) -> None:
    done = door.grpcurl("ListRuns", door.token(user), namespace=TEAM)
    assert done.returncode == 0, done.stderr


def test_account_without_rights_is_refused(door: Door) -> None:
    assert "PermissionDenied" in door.grpcurl("ListRuns", door.token("default"), namespace=TEAM).stderr


def test_rights_end_at_the_namespace(door: Door, user: str) -> None:
    assert "PermissionDenied" in door.grpcurl("ListRuns", door.token(user), namespace=SYSTEM).stderr


@pytest.mark.parametrize("audience", ["another", "https://kubernetes.default.svc"])
def test_token_for_another_audience_is_refused(door: Door, user: str, audience: str) -> None:
    assert "Unauthenticated" in door.grpcurl("ListRuns", door.token(user, audience), namespace=TEAM).stderr


@pytest.mark.parametrize("token", ["", "not-a-token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."])
def test_what_is_no_token_is_refused(door: Door, token: str) -> None:
    assert "Unauthenticated" in door.grpcurl("ListRuns", token, namespace=TEAM).stderr


def test_token_of_an_account_that_is_gone_is_refused(door: Door) -> None:
    door.admit("gone")
    token = door.token("gone")
    door.release.cluster.kubectl("--namespace", TEAM, "delete", "serviceaccount", "gone")
    assert "Unauthenticated" in door.grpcurl("ListRuns", token, namespace=TEAM).stderr


def test_it_is_healthy_to_a_probe(door: Door) -> None:
    assert door.probe().returncode == 0


def test_wrong_run_is_refused_field_by_field(door: Door, user: str) -> None:
    run = {"metadata": {"name": "wrong"}, "spec": {"train": {"maxSteps": -1, "type": "lra"}}}
    refusal = door.grpcurl("CreateRun", door.token(user), namespace=TEAM, run=run).stderr
    assert "InvalidArgument" in refusal
    assert not [field for field in ("spec.train.maxSteps", "spec.train.type") if field not in refusal], refusal


def test_whole_way_by_the_command(door: Door, user: str, scene: Scene, tmp_path: Path) -> None:
    """push, apply, watch and outputs over gRPC, as an account with a token."""
    door.kubetuner(user, "push", scene.folder / "photographs", "datasets/by-grpc")
    again = json.loads(door.kubetuner(user, "push", scene.folder / "photographs", "datasets/by-grpc", "--json").splitlines()[-1])
    assert not again.get("sent"), again
    document = scene.document("by-grpc", seed=21)
    document["spec"]["datasets"][0]["source"]["uri"] = "store:datasets/by-grpc"
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(document))
    door.kubetuner(user, "apply", "-f", file)
    door.kubetuner(user, "watch", "by-grpc")
    door.kubetuner(user, "outputs", "by-grpc", "-o", tmp_path / "out")
    assert (tmp_path / "out" / LORA).read_bytes() == scene.laptop("by-grpc", seed=21).lora
