"""A run's life: what the controller makes of Jobs, pods, wishes and faults, on a fake cluster."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kubetuner import flow
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.controller.api import JOB, RUN, SERVICE, ApiError
from kubetuner.controller.status import LARGEST
from kubetuner.errors import ArtifactError
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage.memory import MemoryStore
from tests.unit.controller.fake import run_of
from tests.unit.controller.world import FINGERPRINTS, GIVES, World, told

UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
STAGES = ("ingest", "embed", "train", "evaluate")


def play(scene: Any) -> World:
    """Run a scene in a new world."""
    world = World()
    asyncio.run(scene(world))
    return world


def remember(world: World, stage: str, source: str) -> None:
    """Put a stage's result into the store, as an earlier run would have."""
    spec = resolve(parse_run(run_of())).spec
    refs = [ArtifactRef(noun=noun, fingerprint=FINGERPRINTS[noun]) for noun in (source, "model")]
    memo = {"noun": GIVES[stage], "fingerprint": FINGERPRINTS[GIVES[stage]]}
    world.store.put(flow.memo_key(stage, spec, refs[0], refs[1]), json.dumps(memo).encode())
    world.store.put(f"{GIVES[stage]}/{memo['fingerprint']}/index.json", b"{}")


def test_four_stages_follow_each_other_and_the_run_succeeds() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        for stage in STAGES:
            assert world.names()[-1:] == [f"dog-{stage}-1"] or f"dog-{stage}-1" in world.names()
            await world.finish(stage)
        assert world.status["phase"] == "Succeeded"
        assert world.status["artifacts"] == FINGERPRINTS
        assert world.status["images"] == 20
        for kind in ("Accepted", "DatasetReady", "CacheReady", "Trained", "Evaluated", "Succeeded"):
            assert world.condition(kind).startswith("True"), kind

    play(scene)


def test_later_stages_get_the_artifact_before_them_and_the_model_of_the_store() -> None:
    async def scene(world: World) -> None:
        await world.submit(suspend=False, compute={"retries": 1})
        await world.turn()
        await world.finish("ingest")
        template = world.job("embed")["spec"]["template"]
        request = json.loads(template["metadata"]["annotations"]["kubetuner.dev/request"])
        assert request["source"] == {"noun": "manifest", "fingerprint": FINGERPRINTS["manifest"]}
        assert request["spec"]["model"] == {"path": f"store:model/{FINGERPRINTS['model']}"}
        assert (request["run"], request["attempt"], request["requestId"][-8:]) == ("team/dog", 1, "-embed-1")
        assert "compute" not in request["spec"]

    play(scene)


def test_a_finished_run_makes_no_calls_and_no_children_even_when_all_of_them_are_gone() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        for stage in STAGES:
            await world.finish(stage)
        for name in world.names():
            world.cluster.remove(JOB, "team", name)
        world.cluster.calls.clear()
        world.begin()
        assert await world.turn() is None
        assert world.cluster.calls == {}

    play(scene)


def test_a_stage_whose_result_is_in_the_store_is_skipped_without_a_pod() -> None:
    async def scene(world: World) -> None:
        remember(world, "embed", "manifest")
        remember(world, "train", "cache")
        await world.submit()
        await world.turn()
        await world.finish("ingest")
        assert [world.row(stage)["phase"] for stage in ("ingest", "embed", "train")] == ["Succeeded", "Skipped", "Skipped"]
        assert world.names() == ["dog-evaluate-1", "dog-ingest-1"]

    play(scene)


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


def test_suspension_deletes_the_job_and_resumption_makes_the_next_attempt() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        world.cluster.start_pod(world.job("ingest"))
        world.cluster.change(RUN, "team", "dog", spec={"suspend": True})
        await world.turn()
        assert "deletionTimestamp" in world.job("ingest")["metadata"]
        assert world.condition("Suspended") == ""
        world.cluster.collect()
        await world.turn()
        assert (world.status["phase"], world.condition("Suspended")) == ("Suspended", "True/Suspended")
        world.cluster.calls.clear()
        assert await world.turn() is None
        assert world.cluster.calls == {}
        world.cluster.change(RUN, "team", "dog", spec={"suspend": False})
        await world.turn()
        assert world.names() == ["dog-ingest-2"]
        assert world.row("ingest").get("retries", 0) == 0

    play(scene)


def test_a_run_resumed_while_its_job_is_being_deleted_waits_for_its_pods() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        world.cluster.start_pod(world.job("ingest"))
        world.cluster.change(RUN, "team", "dog", spec={"suspend": True})
        await world.turn()
        world.cluster.change(RUN, "team", "dog", spec={"suspend": False})
        await world.turn()
        assert world.names() == ["dog-ingest-1"]
        world.cluster.collect()
        await world.turn()
        assert world.names() == ["dog-ingest-2"]

    play(scene)


def test_cancel_ends_the_run_for_good_once_nothing_runs() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        world.cluster.start_pod(world.job("ingest"))
        world.cluster.change(RUN, "team", "dog", spec={"cancel": True})
        await world.turn()
        assert world.status["phase"] != "Cancelled"
        world.cluster.collect()
        await world.turn()
        assert world.status["phase"] == "Cancelled"
        assert world.condition("Succeeded").startswith("False")
        await world.turn()
        assert world.names() == []

    play(scene)


def test_a_deadline_ends_the_run_and_begins_anew_when_it_is_resumed() -> None:
    async def scene(world: World) -> None:
        await world.submit(compute={"activeDeadlineSeconds": 60})
        await world.turn()
        world.cluster.start_pod(world.job("ingest"))
        assert await world.turn() == pytest.approx(60, abs=2)
        world.cluster.change(RUN, "team", "dog", spec={"suspend": True})
        await world.turn()
        world.cluster.collect()
        await world.turn()
        world.wait(3600)
        world.cluster.change(RUN, "team", "dog", spec={"suspend": False})
        await world.turn()
        assert "dog-ingest-2" in world.names()
        world.wait(61)
        await world.turn()
        assert (world.status["phase"], world.condition("Failed")) == ("Pending", "")  # its Job is being deleted
        await world.turn()
        assert world.condition("Failed") == "True/DeadlineExceeded"

    play(scene)


def test_a_run_is_deleted_when_its_time_after_the_end_is_over() -> None:
    async def scene(world: World) -> None:
        await world.submit(compute={"ttlSecondsAfterFinished": 30}, cancel=True)
        await world.turn()
        assert world.status["phase"] == "Cancelled"
        assert await world.turn() == pytest.approx(30, abs=1)
        world.wait(31)
        await world.turn()
        assert world.cluster.of(RUN) == []

    play(scene)


def test_a_suspended_job_is_queued_and_never_let_go_by_us() -> None:
    async def scene(world: World) -> None:
        await world.submit(queue="gpus")
        await world.turn()
        assert world.job("ingest")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
        world.cluster.change(JOB, "team", "dog-ingest-1", spec={"suspend": True})
        await world.turn()
        assert (world.status["phase"], world.condition("QuotaReserved")) == ("Queued", "False/Queued")
        world.cluster.calls.clear()
        assert await world.turn() is None
        assert world.cluster.calls == {}
        world.cluster.change(JOB, "team", "dog-ingest-1", spec={"suspend": False})
        world.cluster.start_pod(world.job("ingest"))
        await world.turn()
        assert (world.status["phase"], world.condition("QuotaReserved")) == ("Running", "True/Admitted")

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
        from kubetuner.controller.api import POD

        world.cluster.change(POD, "team", pod["metadata"]["name"], status=status)
        await world.turn()
        assert world.row("ingest")["reason"] == reason
        assert words in world.status["message"]

    play(scene)


def test_a_wrong_spec_is_not_accepted_and_a_corrected_one_is() -> None:
    async def scene(world: World) -> None:
        await world.submit(train={"maxSteps": 4, "epochs": 1})
        await world.turn()
        assert (world.status["phase"], world.condition("Accepted")) == ("Failed", "False/InvalidSpec")
        assert "spec.train.maxSteps" in world.status["message"]
        assert world.names() == []
        world.cluster.calls.clear()
        assert await world.turn() is None
        assert world.cluster.calls == {}
        world.cluster.change(RUN, "team", "dog", spec={"train": {"epochs": None}})
        await world.turn()
        assert world.condition("Accepted") == "True/Valid"
        assert world.names() == ["dog-ingest-1"]

    play(scene)


def test_a_run_of_another_controller_is_left_alone() -> None:
    async def scene(world: World) -> None:
        await world.submit(managedBy="kueue.x-k8s.io/multikueue")
        world.cluster.calls.clear()
        await world.turn()
        assert world.cluster.calls == {}

    play(scene)


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


def test_several_nodes_get_a_headless_service_and_torchruns_environment() -> None:
    async def scene(world: World) -> None:
        for stage, source in (("embed", "manifest"),):
            remember(world, stage, source)
        await world.submit(compute={"train": {"nodes": 2, "resources": {"gpus": 1}}})
        await world.turn()
        await world.finish("ingest")
        job = world.job("train")
        assert [one["metadata"]["name"] for one in world.cluster.of(SERVICE)] == ["dog-train-1"]
        assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["completionMode"]) == (2, 2, "Indexed")
        pod = job["spec"]["template"]["spec"]
        env = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        assert (env["PET_NNODES"], env["PET_MASTER_ADDR"], pod["subdomain"]) == ("2", "dog-train-1-0.dog-train-1", "dog-train-1")
        assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}

    play(scene)


@pytest.mark.parametrize("kept", [False, True])
def test_the_parts_of_a_stage_tell_one_result_together(kept: bool) -> None:
    async def scene(world: World) -> None:
        await world.submit(compute={"ingest": {"shards": 2}})
        await world.turn()
        whole = told("ingest")
        first = {key: value for key, value in whole.items() if key != "result"}
        last = {key: value for key, value in whole.items() if key != "model"}
        uid = world.cluster.must(RUN, "team", "dog")["metadata"]["uid"]
        for index, message in enumerate((first, last)):
            pod = world.cluster.start_pod(world.job("ingest"), index=index)
            world.cluster.end_pod(pod, 0, None if kept else message)
            if kept:
                name = f"{uid}-ingest-1" + (f"-{index}" if index else "")
                world.store.put(f"jobs/{name}/job.json", json.dumps(message).encode())
        world.cluster.end_job(world.job("ingest"), "Complete")
        await world.turn()
        assert world.status["artifacts"] == {noun: FINGERPRINTS[noun] for noun in ("manifest", "model")}
        assert world.status["images"] == 40

    play(scene)


def test_gpu_seconds_are_counted_once() -> None:
    async def scene(world: World) -> None:
        remember(world, "embed", "manifest")
        await world.submit(compute={"train": {"resources": {"gpus": 2}}})
        await world.turn()
        await world.finish("ingest")
        await world.finish("train")
        await world.turn()
        assert world.status["gpuSeconds"] == 58.0

    play(scene)


def test_progress_is_written_with_texts_for_people_and_not_too_often() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        world.cluster.start_pod(world.job("ingest"))
        await world.turn()
        uid = world.job("ingest")["metadata"]["uid"]
        world.wait(10)
        world.loop.feed.hear(uid, {"unit": "images", "done": 3, "total": 20, "remainingSeconds": 200.0, "figures": {"loss": 0.5}})
        await world.turn()
        assert (world.status["progress"]["step"], world.status["progress"]["eta"]) == ("3/20", "3m20s")
        writes = world.cluster.calls["patch trainingruns"]
        world.loop.feed.hear(uid, {"unit": "images", "done": 4, "total": 20})
        world.wait(1)
        await world.turn()
        assert world.cluster.calls["patch trainingruns"] == writes
        world.wait(5)
        await world.turn()
        assert world.status["progress"]["done"] == 4

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


def test_a_deleted_run_is_not_worked_on() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        world.cluster.change(RUN, "team", "dog", metadata={"deletionTimestamp": "2026-11-22T10:00:00Z"})
        world.cluster.calls.clear()
        await world.turn()
        assert world.cluster.calls == {}

    play(scene)
