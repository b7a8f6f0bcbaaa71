"""One controller leads at a time, the next soon after."""

from __future__ import annotations

import asyncio

import pytest

from kubetuner.controller.api import LEASE, ApiError
from kubetuner.controller.lease import Election, LeaseLost
from tests.unit.controller.fake import FakeCluster


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def election(cluster: FakeCluster, name: str, clock: Clock, retry: float = 0.002) -> Election:
    return Election(cluster=cluster, namespace="team", name="kubetuner", identity=name, clock=clock, retry=retry)


def holder(cluster: FakeCluster) -> str:
    return str(cluster.must(LEASE, "team", "kubetuner")["spec"]["holderIdentity"])


def test_the_first_leads_and_the_second_waits_until_the_first_falls_silent() -> None:
    async def scene() -> None:
        cluster, clock = FakeCluster(), Clock()
        first, second = election(cluster, "a", clock), election(cluster, "b", clock)
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(0.05)
        assert (first.leads, second.leads, holder(cluster)) == (True, False, "a")
        clock.now = 10.5  # the first has given up by itself before anybody may take over
        assert not first.leads
        await asyncio.sleep(0.05)
        assert not second.leads
        clock.now = 15.1
        await asyncio.wait_for(waiting, 2)
        assert (first.leads, second.leads, holder(cluster)) == (False, True, "b")

    asyncio.run(scene())


def test_a_lease_given_back_is_taken_at_once() -> None:
    async def scene() -> None:
        cluster, clock = FakeCluster(), Clock()
        first, second = election(cluster, "a", clock), election(cluster, "b", clock)
        await first.acquire()
        await first.release()
        assert not first.leads
        await asyncio.wait_for(second.acquire(), 2)
        assert second.leads

    asyncio.run(scene())


def test_who_cannot_renew_in_time_stops() -> None:
    async def scene() -> None:
        cluster, clock = FakeCluster(), Clock()
        first = election(cluster, "a", clock)
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        await asyncio.sleep(0.02)
        cluster.fault = lambda verb, kind: ApiError(0, "Lost", "") if verb == "patch" else None
        clock.now = 11
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(holding, 2)

    asyncio.run(scene())


def test_who_finds_another_in_its_place_stops() -> None:
    async def scene() -> None:
        cluster, clock = FakeCluster(), Clock()
        first = election(cluster, "a", clock)
        await first.acquire()
        cluster.change(LEASE, "team", "kubetuner", spec={"holderIdentity": "b"})
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(first.hold(), 2)

    asyncio.run(scene())
