"""One controller leads at a time, the next soon after."""

from __future__ import annotations

import asyncio

import pytest

from kubetuner.controller.api import LEASE, ApiError
from kubetuner.controller.lease import Election, LeaseLost
from tests.unit.controller.fake import FakeCluster
from tests.waiting import SECONDS, soon


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def election(cluster: FakeCluster, name: str, clock: Clock, retry: float = 0.002) -> Election:
    return Election(cluster=cluster, namespace="team", name="kubetuner", identity=name, clock=clock, retry=retry)


def holder(cluster: FakeCluster) -> str:
    return str(cluster.must(LEASE, "team", "kubetuner")["spec"]["holderIdentity"])


async def looks(cluster: FakeCluster) -> None:
    """Until those who wait for the Lease, or hold it, have looked at it some times more."""
    before = cluster.calls["get leases"]
    await soon(lambda: cluster.calls["get leases"] >= before + 5)


def test_the_first_leads_and_the_second_waits_until_the_first_falls_silent() -> None:
    async def scene() -> None:
        cluster, clock = FakeCluster(), Clock()
        first, second = election(cluster, "a", clock), election(cluster, "b", clock)
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await looks(cluster)
        assert (first.leads, second.leads, holder(cluster)) == (True, False, "a")
        clock.now = 10.5  # the first has given up by itself before anybody may take over
        assert not first.leads
        await looks(cluster)
        assert not second.leads
        clock.now = 15.1
        await asyncio.wait_for(waiting, SECONDS)
        assert (first.leads, second.leads, holder(cluster)) == (False, True, "b")

    asyncio.run(scene())


def test_a_lease_given_back_is_taken_at_once() -> None:
    async def scene() -> None:
        cluster, clock = FakeCluster(), Clock()
        first, second = election(cluster, "a", clock), election(cluster, "b", clock)
        await first.acquire()
        await first.release()
        assert not first.leads
        await asyncio.wait_for(second.acquire(), SECONDS)
        assert second.leads

    asyncio.run(scene())


def test_who_cannot_renew_in_time_stops() -> None:
    async def scene() -> None:
        cluster, clock = FakeCluster(), Clock()
        first = election(cluster, "a", clock)
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        await looks(cluster)
        cluster.fault = lambda verb, kind: ApiError(0, "Lost", "") if verb == "patch" else None
        clock.now = 11
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(holding, SECONDS)

    asyncio.run(scene())


def test_who_finds_another_in_its_place_stops() -> None:
    async def scene() -> None:
        cluster, clock = FakeCluster(), Clock()
        first = election(cluster, "a", clock)
        await first.acquire()
        cluster.change(LEASE, "team", "kubetuner", spec={"holderIdentity": "b"})
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(first.hold(), SECONDS)

    asyncio.run(scene())
