"""RunService from outside the cluster, by real grpcurl, grpc-health-probe and our client: TLS, tokens, and the caller's own rights."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Final

import pytest
import yaml

import kubetuner
from tests.cluster.door import Door
from tests.cluster.laptop import LORA, Laptop
from tests.cluster.release import SYSTEM, TEAM
from tests.cluster.scene import Scene

LAPTOP: Final = {"by-grpc": {"seed": 21}}
_BRIEF: Final = 60  # seconds: by then the first call is through, on a busy machine too


@pytest.fixture(scope="module")
def user(door: Door) -> str:
    """An account that may edit the team's runs."""
    door.admit("user")
    return "user"


@pytest.fixture(scope="module", autouse=True)
def brief(door: Door, user: str) -> tuple[str, float]:
    """A token that was good as the tests began, and when it ends: by the last of them that is soon."""
    token, ends = door.brief_token(user, seconds=_BRIEF), time.time() + _BRIEF
    done = door.grpcurl("ListRuns", token, namespace=TEAM)
    assert done.returncode == 0, done.stderr
    return token, ends


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
    door.until_refused(token)
    assert "Unauthenticated" in door.grpcurl("ListRuns", token, namespace=TEAM).stderr


def test_token_signed_by_another_is_refused(door: Door, user: str) -> None:
    head, claims, _ = door.token(user).split(".")
    other = door.brief_token(user, seconds=600).split(".")[2]
    assert "Unauthenticated" in door.grpcurl("ListRuns", f"{head}.{claims}.{other}", namespace=TEAM).stderr


def test_it_is_healthy_to_a_probe(door: Door) -> None:
    assert door.probe().returncode == 0


def test_wrong_run_is_refused_field_by_field(door: Door, user: str) -> None:
    run = {"metadata": {"name": "wrong"}, "spec": {"train": {"maxSteps": -1, "type": "lra"}}}
    refusal = door.grpcurl("CreateRun", door.token(user), namespace=TEAM, run=run).stderr
    assert "InvalidArgument" in refusal
    assert not [field for field in ("spec.train.maxSteps", "spec.train.type") if field not in refusal], refusal


def test_whole_way_by_the_command(door: Door, user: str, scene: Scene, laptop: Laptop, tmp_path: Path) -> None:
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
    assert (tmp_path / "out" / LORA).read_bytes() == laptop.outcome("by-grpc").lora


def test_python_client_follows_a_run_to_its_files(door: Door, user: str, scene: Scene, tmp_path: Path) -> None:
    async def follow() -> list[Path]:
        where = {"ca": door.authority, "namespace": TEAM, "server_name": door.name}
        async with kubetuner.connect(f"dns:///{door.address}", token=door.token(user), **where) as kt:
            *_, found = [answer async for answer in kt.inspect(scene.document("by-python", seed=21))]
            assert [row.used for row in found.datasets] == [12], found
            run = await kt.create_run(scene.document("by-python", seed=21), request_id="once")
            await kt.create_run(scene.document("by-python", seed=21), request_id="once")  # the first call's again
            numbers = [event.sequence async for event in kt.watch(run)]
            assert numbers == sorted(set(numbers))
            assert (await kt.get_run(run)).status.phase == "Succeeded"
            return await kt.download(run, tmp_path)

    assert tmp_path / LORA in asyncio.run(follow())


def test_token_ends_with_its_time(door: Door, brief: tuple[str, float]) -> None:
    token, ends = brief
    time.sleep(max(0.0, ends + 1 - time.time()))
    refusal = door.grpcurl("ListRuns", token, namespace=TEAM).stderr
    assert "Unauthenticated" in refusal
    assert "expired" in refusal
