"""What goes wrong with a run: its data, its pods, its Jobs, the store; what is retried and what is told; on a fake cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubetuner.controller.api import EVENT, JOB, POD, RUN, ApiError, Json
from kubetuner.controller.status import LARGEST
from kubetuner.controller.trouble import warning
from kubetuner.errors import ArtifactError
from kubetuner.storage.memory import MemoryStore
from tests.unit.controller.world import STAGES, World, play, told

SCHEDULED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T10:00:00Z"}
LOCKED = 'MountVolume.SetUp failed for volume "secret-keys" : secret "keys" not found'
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


def test_a_store_that_is_away_is_a_condition_and_no_failure() -> None:
    class Away(MemoryStore):
        away = True

        def head(self, key: str) -> int | None:
            if self.away:
                raise ArtifactError("minio does not answer")
            return super().head(key)

    async def scene(world: World) -> None:
        store = Away()
        world.store = store
        await world.submit()
        await world.turn()
        await world.finish("ingest")
        again = await world.turn()
        assert world.condition("StoreReachable") == "False/Unreachable"
        assert again is not None
        assert world.status["phase"] == "Running"
        assert world.names() == ["dog-ingest-1"]
        world.cluster.calls.clear()
        await world.turn()
        assert world.cluster.calls == {}
        store.away = False
        world.wait(100)
        await world.turn()
        assert world.condition("StoreReachable") == "True/Reachable"
        assert "dog-embed-1" in world.names()

    play(scene)


def test_the_users_fault_ends_the_run_at_once_with_its_words() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        message = told("ingest", "FAILED", reason="INPUT_INVALID", message="spec.datasets[0]: no pictures there", retryable=False)
        await world.fail("ingest", code=2, message=message)
        assert world.status["phase"] == "Failed"
        assert "no pictures there" in world.status["message"]
        assert world.condition("Failed") == "True/InputInvalid"
        assert world.names() == ["dog-ingest-1"]

    play(scene)


def test_faults_of_machines_are_retried_after_a_growing_pause_up_to_the_limit() -> None:
    async def scene(world: World) -> None:
        await world.submit(compute={"retries": 2})
        await world.turn()
        for attempt, pause in ((1, 10), (2, 20)):
            await world.fail("ingest", attempt, code=137, reason="OOMKilled")
            assert world.row("ingest")["reason"] == "OOMKilled"
            assert await world.turn() == pytest.approx(pause, abs=1.0)
            world.wait(pause + 1)
            await world.turn()
            assert f"dog-ingest-{attempt + 1}" in world.names()
        await world.fail("ingest", 3, code=137, reason="OOMKilled")
        assert world.status["phase"] == "Failed"
        assert "after 2 of 2 retries" in world.status["message"]

    play(scene)


@pytest.mark.parametrize(("code", "how"), [(143, {}), (137, {"disrupted": "PreemptionByScheduler"})])
def test_preemption_and_a_pod_asked_to_end_cost_no_retry(code: int, how: dict[str, str]) -> None:
    async def scene(world: World) -> None:
        await world.submit(compute={"retries": 0})
        await world.turn()
        await world.fail("ingest", code=code, **how)
        assert "dog-ingest-2" in world.names()
        assert world.row("ingest").get("retries", 0) == 0
        assert world.status["phase"] == "Running" or world.status["phase"] == "Pending"

    play(scene)


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (
            {"conditions": [UNSCHEDULABLE | {"message": "0/2 nodes: 2 Insufficient nvidia.com/gpu."}]},
            "Unschedulable",
            "asks for a GPU (nvidia.com/gpu) that no node has free",
        ),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image x"}}}]},
            "ImagePullBackOff",
            "Back-off pulling image x",
        ),
    ],
)  # fmt: skip
def test_why_a_pod_does_not_start_is_told(status: dict[str, Any], reason: str, words: str) -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        pod = world.cluster.start_pod(world.job("ingest"), waiting=("ContainerCreating", ""))
        world.cluster.change(POD, "team", pod["metadata"]["name"], status=status)
        await world.turn()
        assert world.row("ingest")["reason"] == reason
        assert words in world.status["message"]

    play(scene)


def tell(world: World, pod: Json, kind: str, reason: str, note: str) -> None:
    """The kubelet writes an Event about a pod."""
    meta = {"name": f"{pod['metadata']['name']}.{world.cluster.version}", "namespace": "team"}
    moment = world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {"metadata": meta, "type": kind, "reason": reason, "note": note, "deprecatedLastTimestamp": moment}
    world.cluster.put(EVENT, event | {"regarding": {"uid": pod["metadata"]["uid"]}}, "ADDED")


async def waiting(world: World) -> Json:
    """A run whose first pod has a node and does not start."""
    await world.submit()
    await world.turn()
    pod = world.cluster.start_pod(world.job("ingest"), waiting=("ContainerCreating", ""))
    world.cluster.change(POD, "team", pod["metadata"]["name"], status={"conditions": [SCHEDULED]})
    return pod


def test_a_pod_that_waits_for_a_secret_that_is_not_there_names_it() -> None:
    async def scene(world: World) -> None:
        pod = await waiting(world)
        assert await world.turn() == pytest.approx(5, abs=1)
        assert world.cluster.calls["list events"] == 0  # most pods start by themselves
        tell(world, pod, "Warning", "FailedMount", LOCKED)
        world.wait(6)
        assert await world.turn() is not None
        assert (world.row("ingest")["phase"], world.row("ingest")["reason"]) == ("Pending", "FailedMount")
        assert 'secret "keys" not found' in world.status["message"]
        await world.turn()
        assert world.cluster.calls["list events"] == 1
        world.cluster.change(POD, "team", pod["metadata"]["name"], status={"phase": "Running", "containerStatuses": []})
        await world.turn()
        assert world.row("ingest")["phase"] == "Running"

    play(scene)


def test_a_pod_that_waits_for_long_is_asked_about_ever_less() -> None:
    async def scene(world: World) -> None:
        await waiting(world)
        for _ in range(240):  # an hour
            world.wait(15)
            await world.turn()
        assert 10 < world.cluster.calls["list events"] < 20

    play(scene)


def test_events_that_may_not_be_read_change_nothing() -> None:
    async def scene(world: World) -> None:
        await waiting(world)
        world.cluster.fault = lambda verb, kind: ApiError(403, "Forbidden", "no") if (verb, kind) == ("list", EVENT) else None
        world.wait(6)
        await world.turn()
        assert (world.row("ingest")["phase"], world.row("ingest")["reason"]) == ("Pending", "Pending")

    play(scene)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], ("", "")),
        ([("Normal", "Scheduled", "to node1"), ("Warning", "FailedMount", LOCKED)], ("FailedMount", LOCKED)),
        ([("Warning", "FailedMount", LOCKED), ("Normal", "Scheduled", "to node1")], ("FailedMount", LOCKED)),
        ([("Warning", "FailedMount", LOCKED), ("Normal", "Pulling", "image x")], ("", "")),
        ([("Warning", "FailedScheduling", "no node"), ("Normal", "Scheduled", "to node1")], ("", "")),
        (
            [("Warning", "FailedMount", LOCKED), ("Warning", "FailedMount", "Unable to attach or mount volumes: timed out")],
            ("FailedMount", LOCKED),
        ),
        (
            [("Warning", "FailedMount", "other"), ("Warning", "FailedCreatePodSandBox", "no network")],
            ("FailedCreatePodSandBox", "no network"),
        ),
    ],
)
def test_of_several_events_the_one_that_explains_is_told(events: list[tuple[str, str, str]], said: tuple[str, str]) -> None:
    found = [
        {"type": kind, "reason": reason, "note": note, "eventTime": f"2026-11-22T10:00:{second:02d}.000000Z"}
        for second, (kind, reason, note) in enumerate(events)
    ]
    assert warning(found) == said


def test_a_job_of_the_name_that_is_somebody_elses_is_waited_for() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.cluster.create(JOB, "team", {"metadata": {"name": "dog-ingest-1"}, "spec": {}})
        again = await world.turn()
        assert again is not None
        assert world.row("ingest")["reason"] == "NameTaken"
        world.cluster.remove(JOB, "team", "dog-ingest-1")
        world.wait(again + 1)
        await world.turn()
        await world.turn()
        assert world.cluster.created["Job/dog-ingest-1"] == 2
        assert world.row("ingest")["reason"] == "Created" or world.row("ingest")["phase"] == "Pending"

    play(scene)


def test_a_job_that_the_server_refuses_fails_the_run_with_the_servers_words() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        world.cluster.fault = lambda verb, kind: (
            ApiError(422, "Invalid", "label value is wrong") if (verb, kind) == ("create", JOB) else None
        )
        await world.turn()
        assert world.status["phase"] == "Failed"
        assert "label value is wrong" in world.status["message"]

    play(scene)


def test_a_lost_job_is_asked_for_then_read_from_the_store_then_begun_again() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        await world.turn()
        uid = world.cluster.must(RUN, "team", "dog")["metadata"]["uid"]
        world.cluster.remove(JOB, "team", "dog-ingest-1")
        world.store.put(
            f"jobs/{uid}-ingest-1/job.json",
            json.dumps(told("ingest", "JOB_STATE_SUCCEEDED") | {"result": {"noun": "manifest", "fingerprint": "1" * 40}}).encode(),
        )
        await world.turn()
        assert world.row("ingest")["phase"] == "Succeeded"
        await world.turn()
        world.cluster.remove(JOB, "team", "dog-embed-1")
        await world.turn()
        assert world.row("embed")["reason"] == "JobLost"
        world.wait(11)
        await world.turn()
        assert "dog-embed-2" in world.names()

    play(scene)


def test_a_status_stays_below_its_limit_whatever_is_told() -> None:
    async def scene(world: World) -> None:
        await world.submit(compute={"retries": 0})
        await world.turn()
        for stage in STAGES[:3]:
            await world.finish(stage)
        message = told("evaluate", "FAILED", reason="X" * 3000, message="é" * 4000, retryable=True)
        await world.fail("evaluate", message=message)
        assert world.status["phase"] == "Failed"
        assert len(json.dumps(world.status, ensure_ascii=False).encode()) <= LARGEST

    play(scene)
