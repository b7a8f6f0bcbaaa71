"""Several processes on one store share the shards among them."""

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from kubetuner.artifacts.claims import Claims
from kubetuner.artifacts.pool import Array, Pool
from kubetuner.context import StageContext
from kubetuner.embed.core.sharing import shared
from kubetuner.embed.core.writing import Writing
from kubetuner.errors import KubeTunerError
from kubetuner.storage import Content
from kubetuner.storage.memory import MemoryStore
from tests.beating import BeatingStore

GROUPS = [{f"{group}-{item}" for item in range(3)} for group in range(12)]


def work(store: MemoryStore, done: list[str], begun: Callable[[], object] = lambda: None) -> None:
    pool = Pool(store, "texts", "e" * 40)
    ctx = StageContext(store=store)
    with ExitStack() as held, Writing(pool) as writing:
        for group, written in shared(list(GROUPS), pool, Claims(store=store), held, ctx):
            if not done:
                begun()
            writing.write({key: {"x": Array(dtype="F32", shape=(1,), data=b"1234")} for key in group}, written)
            done.extend(group)


def test_two_workers_do_every_shard_once_and_both_know_all_in_the_end() -> None:
    store, together = BeatingStore(), threading.Barrier(2)  # neither works on before the other has a shard, too
    done: list[list[str]] = [[], []]
    threads = [threading.Thread(target=work, args=(store, part, lambda: together.wait(120))) for part in done]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([*done[0], *done[1]]) == sorted(key for group in GROUPS for key in group)
    assert all(done)
    assert [info.key for info in store.list("claims/")] == []


def test_a_worker_that_comes_late_does_nothing() -> None:
    store = MemoryStore()
    first: list[str] = []
    late: list[str] = []
    work(store, first)
    work(store, late)
    assert (len(first), late) == (36, [])


class Full(MemoryStore):
    """A store that takes claims and nothing else."""

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        if not key.startswith("claims/"):
            raise KubeTunerError("full")
        return super().put(key, data, replace=replace, durable=durable)


def test_a_failed_write_is_raised_and_leaves_no_claim() -> None:
    store = Full()
    with pytest.raises(KubeTunerError, match="full"):
        work(store, [])
    assert [info.key for info in store.list("claims/")] == []
