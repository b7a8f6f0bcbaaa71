"""A run's stages: how they follow each other, what they get and what is told of them, on a fake cluster."""

from __future__ import annotations

import json

import pytest

from kubetuner.controller.api import JOB, RUN, SERVICE, Json
from tests.unit.controller.world import FINGERPRINTS, STAGES, World, play, remember, told


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


def test_a_stage_is_done_once_its_pod_told_its_result_whenever_its_job_says_so() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        for stage in STAGES:
            pod = world.cluster.start_pod(world.job(stage))
            await world.turn()
            assert world.row(stage)["phase"] == "Running"
            world.cluster.end_pod(pod, 0, told(stage))
            await world.turn()
            assert world.row(stage)["phase"] == "Succeeded"
        assert world.status["phase"] == "Succeeded"
        await world.turn()
        assert len(world.names()) == 4
        assert not [job for job in world.cluster.of(JOB) if "deletionTimestamp" in job["metadata"]]

    play(scene)


@pytest.mark.parametrize(("code", "message"), [(0, None), (1, told("ingest")), (0, told("ingest", "INTERRUPTED"))])
def test_a_pod_that_told_no_result_leaves_the_word_to_its_job(code: int, message: Json | None) -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        world.cluster.end_pod(world.cluster.start_pod(world.job("ingest")), code, message)
        await world.turn()
        assert world.row("ingest")["phase"] == "Pending"
        assert world.names() == ["dog-ingest-1"]

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
        world.hear(uid, {"unit": "images", "done": 3, "total": 20, "remainingSeconds": 200.0, "figures": {"loss": 0.5}})
        await world.turn()
        assert (world.status["progress"]["step"], world.status["progress"]["eta"]) == ("3/20", "3m20s")
        writes = world.cluster.calls["patch trainingruns"]
        world.hear(uid, {"unit": "images", "done": 4, "total": 20})
        world.wait(1)
        await world.turn()
        assert world.cluster.calls["patch trainingruns"] == writes
        world.wait(5)
        await world.turn()
        assert world.status["progress"]["done"] == 4

    play(scene)


def test_progress_goes_when_the_next_stage_begins_and_the_last_word_of_the_last_one_stays() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        await world.turn()
        for stage in STAGES:
            uid = world.job(stage)["metadata"]["uid"]
            pod = world.cluster.start_pod(world.job(stage))
            world.wait(10)
            world.hear(uid, {"unit": "images", "done": 3, "total": 4})
            await world.turn()
            assert (world.status["progress"]["stage"], world.status["progress"]["done"]) == (stage, 3)
            world.hear(uid, {"unit": "images", "done": 4, "total": 4})
            world.cluster.end_pod(pod, 0, told(stage))
            await world.turn()
            assert ("progress" in world.status) == (stage == "evaluate")
        assert world.status["progress"]["done"] == 4

    play(scene)
