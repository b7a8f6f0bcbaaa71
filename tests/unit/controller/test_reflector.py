"""A cache follows the cluster through pages, breaks, silence, old versions and deletions that nobody told of."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest

from kubetuner.controller.api import JOB, RUN, ApiError, Change, Kind
from kubetuner.controller.cache import Cache
from kubetuner.controller.reflector import Reflector
from kubetuner.controller.trim import trim_job
from tests.unit.controller.fake import FakeCluster, run_of
from tests.waiting import soon


def reflector(cluster: FakeCluster, cache: Cache) -> Reflector:
    cache.expect([""])
    return Reflector(
        cluster=cluster, kind=RUN, namespace="", cache=cache, random=random.Random(0), watch_seconds=(0.05, 0.05), backoff=(0.001, 0.01)
    )


def names(cache: Cache) -> list[str]:
    return sorted(run["metadata"]["name"] for run in cache.all())


@pytest.mark.parametrize("seed", range(20))
def test_a_cache_becomes_what_the_cluster_is_whatever_breaks(seed: int) -> None:
    drawn = random.Random(seed)

    def fault(verb: str, kind: Kind) -> ApiError | None:
        if verb in ("list", "watch") and drawn.random() < 0.3:
            raise ApiError(drawn.choice((0, 403, 410, 500)), "Fault", "on purpose")
        return None

    async def scene() -> None:
        cluster, cache = FakeCluster(), Cache()
        cluster.fault = fault
        task = asyncio.create_task(reflector(cluster, cache).run())
        for number in range(30):
            there = [run["metadata"]["name"] for run in cluster.of(RUN)]
            if there and drawn.random() < 0.3:
                cluster.remove(RUN, "team", drawn.choice(there))
            elif there and drawn.random() < 0.4:
                cluster.change(RUN, "team", drawn.choice(there), spec={"seed": number})
            else:
                await cluster.create(RUN, "team", run_of(f"run-{number}"))
            if drawn.random() < 0.1:
                cluster.oldest = cluster.version  # the history is thrown away
            await asyncio.sleep(0.001)
        cluster.fault = lambda verb, kind: None
        wanted = {run["metadata"]["name"]: run["metadata"]["resourceVersion"] for run in cluster.of(RUN)}
        await soon(lambda: {run["metadata"]["name"]: run["metadata"]["resourceVersion"] for run in cache.all()} == wanted)
        task.cancel()

    asyncio.run(scene())


def test_a_long_list_comes_by_pages() -> None:
    async def scene() -> None:
        cluster, cache = FakeCluster(), Cache()
        for number in range(600):
            await cluster.create(RUN, "team", run_of(f"run-{number:03d}"))
        task = asyncio.create_task(reflector(cluster, cache).run())
        await soon(lambda: cache.synced)
        assert len(cache) == 600
        assert cluster.calls["list trainingruns"] == 6
        task.cancel()

    asyncio.run(scene())


def test_a_server_that_refuses_is_not_asked_in_a_tight_circle() -> None:
    async def scene() -> None:
        cluster, cache = FakeCluster(), Cache()

        def fault(verb: str, kind: Kind) -> ApiError | None:
            raise ApiError(403, "Forbidden", "no rights")

        cluster.fault = fault
        one = reflector(cluster, cache)
        one.backoff = (0.02, 0.05)
        begun = time.monotonic()
        task = asyncio.create_task(one.run())
        await soon(lambda: cluster.calls["list trainingruns"] >= 20)
        assert time.monotonic() - begun > 19 * 0.01  # the pauses are drawn up to 0.05; a busy machine only makes them longer
        assert not cache.synced
        task.cancel()

    asyncio.run(scene())


def test_an_answer_to_a_write_is_taken_in_unless_the_watch_is_past_it() -> None:
    async def scene() -> None:
        cluster, cache = FakeCluster(), Cache()
        made = await cluster.create(RUN, "team", run_of("dog"))
        cache.replace("", [], "100")
        assert cache.learn(dict(made))
        assert names(cache) == ["dog"]
        gone = {**made, "metadata": {**made["metadata"], "resourceVersion": "200"}}
        cache.remove(gone)
        cache.reach("", "200")
        assert not cache.learn(dict(made))  # it was deleted meanwhile
        assert names(cache) == []

    asyncio.run(scene())


def test_jobs_are_found_by_their_owner_and_kept_without_their_template() -> None:
    cache = Cache(trim_job)
    owner = {"kind": "TrainingRun", "name": "dog", "uid": "u1", "controller": True}
    meta = {"name": "dog-ingest-1", "namespace": "team", "uid": "j1", "resourceVersion": "5", "ownerReferences": [owner]}
    cache.learn({"metadata": meta, "spec": {"suspend": True, "template": {"spec": {"containers": []}}}}, scope="")
    [job] = cache.owned("u1")
    assert job["spec"] == {"suspend": True}
    cache.remove(job)
    assert cache.owned("u1") == []


def test_listeners_hear_of_additions_changes_and_deletions() -> None:
    heard: list[tuple[str, bool]] = []
    cache = Cache()
    cache.hear(lambda found, gone: heard.append((found["metadata"]["resourceVersion"], gone)))
    for version in ("5", "6", "6", "4"):
        cache.learn({"metadata": {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": version}}, scope="")
    cache.replace("", [], "9")
    assert heard == [("5", False), ("6", False), ("6", True)]


def test_a_watch_goes_on_where_it_broke() -> None:
    class Breaking(FakeCluster):
        asked: list[str]

        async def watch(self, kind: Kind, namespace: str, *, labels: str = "", version: str, seconds: float) -> AsyncIterator[Change]:
            self.asked.append(version)
            async for change in super().watch(kind, namespace, labels=labels, version=version, seconds=seconds):
                yield change
                raise ApiError(0, "Unreachable", "the connection broke")

    async def scene() -> None:
        cluster, cache = Breaking(), Cache()
        cluster.asked = []
        task = asyncio.create_task(reflector(cluster, cache).run())
        await soon(lambda: cache.synced)
        for number in range(3):
            await cluster.create(RUN, "team", run_of(f"run-{number}"))
            await soon(lambda wanted=number: len(cache) > wanted)  # type: ignore[misc]
        assert cluster.calls["list trainingruns"] == 1
        assert len(set(cluster.asked)) >= 3
        task.cancel()

    asyncio.run(scene())


def test_the_kinds_know_where_they_are_served() -> None:
    assert RUN.path("team", "dog", "status") == "/apis/kubetuner.dev/v1alpha1/namespaces/team/trainingruns/dog/status"
    assert JOB.path() == "/apis/batch/v1/jobs"


def test_runs_that_ask_for_the_same_share_it_in_memory() -> None:
    cache = Cache()
    for version, name in enumerate(["dog", "cat", "dog"], start=1):
        run = run_of(name) | {"status": {"step": version}}
        run["metadata"] |= {"namespace": "team", "uid": name, "resourceVersion": str(version)}
        cache.learn(run)
    dog, cat = cache.get("team", "dog"), cache.get("team", "cat")
    assert dog is not None
    assert cat is not None
    assert dog["spec"] is cat["spec"]
    assert (dog["spec"], dog["status"], cat["status"]) == (run_of("dog")["spec"], {"step": 3}, {"step": 2})
    other = run_of("bird", cancel=True)
    other["metadata"] |= {"namespace": "team", "uid": "bird", "resourceVersion": "9"}
    cache.learn(other)
    assert cache.get("team", "bird") == other
