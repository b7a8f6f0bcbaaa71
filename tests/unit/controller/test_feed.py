"""Progress comes from the pods' servers; a stream that breaks is taken up where it was, and a server that is not there harms nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from kubetuner.controller.feed import Feed, pause_after
from kubetuner.v1alpha1.job_pb2 import JobEvent, JobState
from kubetuner.v1alpha1.job_service_pb2 import WatchJobRequest, WatchJobResponse
from kubetuner.v1alpha1.job_service_pb2_grpc import JobServiceServicer, add_JobServiceServicer_to_server
from kubetuner.v1alpha1.training_run_pb2 import Progress
from tests.waiting import soon


class Room(JobServiceServicer):
    """A pod's server whose first stream breaks."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def WatchJob(self, request: WatchJobRequest, context: Any) -> AsyncIterator[WatchJobResponse]:
        self.asked.append((request.name, request.start_sequence))
        if len(self.asked) == 1:
            for number in (1, 2):
                yield event(number, done=number)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "breaks")
        yield event(3, done=3)
        yield WatchJobResponse(event=JobEvent(sequence=4, state=JobState.JOB_STATE_SUCCEEDED))


def event(number: int, *, done: int) -> WatchJobResponse:
    return WatchJobResponse(event=JobEvent(sequence=number, progress=Progress(unit="steps", done=done, total=4)))


def test_a_broken_stream_goes_on_after_the_last_event() -> None:
    async def scene() -> None:
        room, server = Room(), grpc.aio.server()
        add_JobServiceServicer_to_server(room, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        heard: list[str] = []
        feed = Feed(changed=heard.append)
        feed.follow("j1", "team/dog", f"127.0.0.1:{port}", "u1-train-1")
        feed.follow("j1", "team/dog", f"127.0.0.1:{port}", "u1-train-1")  # followed already
        await soon(lambda: (feed.progress("j1") or {}).get("done") == 3)
        assert room.asked == [("u1-train-1", 1), ("u1-train-1", 3)]
        assert set(heard) == {"team/dog"}
        feed.leave("j1")
        assert feed.progress("j1") is None
        await server.stop(None)

    asyncio.run(scene())


def test_a_server_that_is_not_there_is_asked_again_and_harms_nothing() -> None:
    async def scene() -> None:
        feed = Feed(changed=lambda key: None)
        feed.follow("j1", "team/dog", "127.0.0.1:1", "u1-train-1")
        await asyncio.sleep(0.3)
        assert len(feed) == 1
        assert feed.progress("j1") is None
        feed.close()
        assert len(feed) == 0
        await asyncio.sleep(0.05)

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("failures", "age", "seconds"), [(0, 0, 0.5), (1, 1, 1.0), (5, 9, 2.0), (90, 100, 2.0), (3, 200, 4.0), (90, 200, 30.0)]
)
def test_a_young_pod_is_asked_often_and_an_old_one_ever_less(failures: int, age: float, seconds: float) -> None:
    assert pause_after(failures, age) == seconds
