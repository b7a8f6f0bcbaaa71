"""Shards on their way into the store while the next one is encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from kubetuner.artifacts.pool import Item, Pool
from kubetuner.diffusion.threads import give_way


class Writing:
    """Writes shards of a pool one after another in a thread. Leaving it waits for the last one and raises its fault."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shard", initializer=give_way)
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        if kind is None:
            self._wait()

    def write(self, items: Mapping[str, Item], done: Callable[[], None]) -> None:
        """Begin to write a shard, once the one before is written; `done` is called after it."""
        self._wait()
        self._last = self._thread.submit(self._write, items, done)

    def _wait(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def _write(self, items: Mapping[str, Item], done: Callable[[], None]) -> None:
        self._pool.write(items)
        done()
