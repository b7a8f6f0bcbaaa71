"""Keys are in the queue once, are worked on by one worker at a time, and come back when they should."""

from __future__ import annotations

import asyncio
import random

from kubetuner.controller.queue import WorkQueue
from tests.waiting import soon


def test_a_key_added_twice_is_taken_once() -> None:
    async def scene() -> None:
        queue = WorkQueue()
        queue.add("a")
        queue.add("a")
        queue.add("b")
        assert [await queue.take(), await queue.take()] == ["a", "b"]
        assert len(queue) == 0

    asyncio.run(scene())


def test_a_key_added_while_it_is_worked_on_comes_back_afterwards_and_not_before() -> None:
    async def scene() -> None:
        queue = WorkQueue()
        queue.add("a")
        assert await queue.take() == "a"
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert await queue.take() == "a"

    asyncio.run(scene())


def test_of_two_pauses_the_shorter_counts() -> None:
    async def scene() -> None:
        now = [0.0]
        queue = WorkQueue(clock=lambda: now[0])
        queue.add_after("a", 50)
        queue.add_after("a", 5)
        queue.add_after("a", 20)
        now[0] = 6
        assert await queue.take() == "a"
        queue.done("a")
        now[0] = 100
        queue.add("b")
        assert await queue.take() == "b"

    asyncio.run(scene())


def test_pauses_after_faults_double_up_to_a_bound_and_begin_anew() -> None:
    queue = WorkQueue(random=random.Random(1))
    pauses = [queue.retry("a") for _ in range(20)]
    assert pauses[0] <= 0.05
    assert 20 < pauses[-1] <= 60
    assert queue.retry("a", at_least=90) == 90
    queue.forget("a")
    assert queue.retry("a") <= 0.05


def test_many_workers_never_share_a_key() -> None:
    async def scene() -> None:
        queue, working, most = WorkQueue(), set[str](), 0
        seen: list[str] = []

        async def work() -> None:
            nonlocal most
            while True:
                key = await queue.take()
                assert key not in working
                working.add(key)
                most = max(most, len(working))
                await asyncio.sleep(0.001)
                seen.append(key)
                working.discard(key)
                queue.done(key)

        workers = [asyncio.create_task(work()) for _ in range(8)]
        for number in range(300):
            queue.add(f"k{number % 10}")
            if number % 10 == 9:
                await asyncio.sleep(0.0005)
        await soon(lambda: set(seen) == {f"k{number}" for number in range(10)} and not working and len(queue) == 0)
        for worker in workers:
            assert not worker.done()
            worker.cancel()
        assert most > 1

    asyncio.run(scene())
