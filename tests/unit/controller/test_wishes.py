"""What users want of a run: suspended, resumed, cancelled, queued, in time, corrected, left alone; on a fake cluster."""

from __future__ import annotations

import pytest

from kubetuner.controller.api import JOB, RUN
from tests.unit.controller.world import World, play


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
        assert world.status["reason"] == "IngestResumed"

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


def test_a_deleted_run_is_not_worked_on() -> None:
    async def scene(world: World) -> None:
        await world.submit()
        world.cluster.change(RUN, "team", "dog", metadata={"deletionTimestamp": "2026-11-22T10:00:00Z"})
        world.cluster.calls.clear()
        await world.turn()
        assert world.cluster.calls == {}

    play(scene)
