"""Runs put onto the API server, and the Jobs that come of them, seen by a watch of our own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from kubetuner.controller.api import JOB, RUN, ApiError, Json
from kubetuner.controller.cluster import KubernetesCluster


def run(name: str, namespace: str) -> Json:
    """A run of usual size."""
    dataset = {"id": "photographs", "source": {"uri": "store:datasets/photographs"}, "captionStrategy": "textfile", "repeats": 2}
    spec = {
        "model": {"path": "store:models/sdxl"},
        "datasets": [dataset],
        "train": {"maxSteps": 1000, "lora": {"rank": 16}, "optimizer": {"learningRate": 1e-4}},
        "evaluate": {"prompts": ["a dog on a beach", "a dog in the snow"]},
    }
    return {"apiVersion": RUN.group_version, "kind": RUN.name, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


@dataclass
class Watcher:
    """When each Job was first seen, by its run's name."""

    seen: dict[str, float] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, count: int, seconds: float) -> None:
        """Until so many runs have a Job."""
        async with asyncio.timeout(seconds):
            while len(self.seen) < count:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def watching(cluster: KubernetesCluster, namespace: str) -> AsyncIterator[Watcher]:
    """Watch Jobs meanwhile."""
    watcher = Watcher()
    version = (await cluster.list(JOB, namespace, limit=1)).version

    async def watch() -> None:
        async for change in cluster.watch(JOB, namespace, version=version, seconds=3600):
            if change.type == "ADDED":
                meta = change.object["metadata"]
                watcher.seen.setdefault(meta["labels"]["kubetuner.dev/run"], time.monotonic())
                watcher.names.append(meta["name"])
                watcher.changed.set()

    task = asyncio.create_task(watch())
    try:
        yield watcher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def submit(cluster: KubernetesCluster, namespace: str, name: str) -> float:
    """Make a run; gives the moment at which the server had it."""
    while True:
        try:
            await cluster.create(RUN, namespace, run(name, namespace))
            return time.monotonic()
        except ApiError as error:
            if error.status != 429:
                raise
            await asyncio.sleep(0.05)
