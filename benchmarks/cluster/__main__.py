"""`make bench-cluster`: the controller on a real API server with pretended nodes; a table, and build/bench-cluster.json.

The load generator, etcd, the API server, the controller manager, the scheduler and the nodes share the machine with the controller, so
rates are those of the whole. What it needs of them is built the first time, as `python -m tests.cluster build` does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cluster.load import Watcher, submit, watching
from benchmarks.cluster.process import Controller
from benchmarks.figures import Figure, as_json, as_text
from kubetuner.controller.api import JOB, RUN
from kubetuner.controller.cluster import KubernetesCluster, connect
from tests.cluster import binaries, kwok
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import until

_CRD = Path(__file__).parents[2] / "charts/kubetuner/files/trainingruns.kubetuner.dev.yaml"
_SPACE = "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all rows; returns 0, since no figure is an error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000, help="runs of the burst (2000)")
    parser.add_argument("--paced", type=int, default=200, help="runs at 10 a second (200)")
    parser.add_argument("--quiet-seconds", type=float, default=30.0, help="how long settled runs are watched (30)")
    parser.add_argument("--without-pods", action="store_true", help="no controller manager, scheduler and nodes: the controller alone")
    parser.add_argument("--out", type=Path, default=Path("build/bench-cluster.json"))
    options = parser.parse_args(arguments)
    needed = ("etcd", "kube-apiserver", "kubectl", *(() if options.without_pods else ("kube-controller-manager", "kube-scheduler", "kwok")))
    for name in binaries.missing(needed):
        print(f"building {name}", file=sys.stderr, flush=True)
        binaries.build(name)
    with tempfile.TemporaryDirectory(prefix="kubetuner-bench-") as folder:
        rows = asyncio.run(_measure(Path(folder), options))
    print(as_text(rows))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    account = {"cores": os.cpu_count(), "runs": options.runs, "pods": not options.without_pods, "rows": as_json(rows)}
    options.out.write_text(json.dumps(account, indent=2) + "\n")
    return 0


async def _measure(folder: Path, options: argparse.Namespace) -> dict[str, list[Figure]]:
    with ControlPlane(folder=folder, acting=not options.without_pods) as plane:
        plane.kubectl("apply", "--server-side", "-f", str(_CRD))
        until(lambda: plane.kubectl.run("get", "trainingruns", "--all-namespaces", check=False).returncode == 0, "the CRD", 30)
        plane.kubectl("create", "namespace", _SPACE)
        if not options.without_pods:
            kwok.up(plane, nodes=2, complete=False)
        cluster = await connect(str(plane.kubeconfig))
        try:
            return await _rows(folder, plane, cluster, options)
        finally:
            await cluster.close()


async def _rows(folder: Path, plane: ControlPlane, cluster: KubernetesCluster, options: argparse.Namespace) -> dict[str, list[Figure]]:
    def controller(name: str, **how: Any) -> Controller:
        return Controller(folder, plane.kubeconfig, name, _SPACE, str(folder / "store"), **how)

    rows: dict[str, list[Figure]] = {}

    def keep(name: str, figures: list[Figure]) -> None:
        rows[name] = figures
        print(as_text({name: figures}), flush=True)

    first = controller("first")
    try:
        await asyncio.to_thread(first.until, "works")
        async with watching(cluster, _SPACE) as watcher:
            await asyncio.sleep(1)
            keep("paced", await _paced(cluster, watcher, options.paced))
            keep("burst", await _burst(cluster, watcher, first, options.runs))
        keep("status", await _status(cluster))
        keep("settled", await _settled(cluster, first, options.quiet_seconds))
    finally:
        first.stop()
    second = controller("second")
    try:
        keep("restart", await _restart(cluster, second))
        keep("failover", await _failover(second, controller))
    finally:
        second.stop()
    return rows


async def _paced(cluster: KubernetesCluster, watcher: Watcher, count: int) -> list[Figure]:
    asked: dict[str, float] = {}
    begun = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / 10 - time.monotonic()))
        asked[f"paced-{number}"] = await submit(cluster, _SPACE, f"paced-{number}")
    await watcher.until(len(watcher.seen.keys() | asked.keys()), 60)
    waits = sorted(1000 * max(0.0, watcher.seen[name] - moment) for name, moment in asked.items())
    return [
        Figure(what="apply to first Job, 10 runs/s: median", value=statistics.median(waits), unit="ms", at_most=10),
        Figure(
            what="apply to first Job, 10 runs/s: 99th percentile",
            value=waits[min(len(waits) - 1, int(len(waits) * 0.99))],
            unit="ms",
            at_most=50,
        ),
    ]


async def _burst(cluster: KubernetesCluster, watcher: Watcher, controller: Controller, count: int) -> list[Figure]:
    names = [f"burst-{number}" for number in range(count)]
    waiting = iter(names)
    begun, before, spent = time.monotonic(), len(watcher.seen), controller.processor_seconds()

    async def send() -> None:
        for name in waiting:
            await submit(cluster, _SPACE, name)

    await asyncio.gather(*(send() for _ in range(16)))
    sent = time.monotonic()
    await watcher.until(before + count, 600)
    seconds = max(watcher.seen[name] for name in names) - begun
    await asyncio.sleep(20)  # pods come and are told of
    return [
        Figure(what=f"burst of {count} runs: runs to first Job", value=count / seconds, unit="runs/s", at_least=100),
        Figure(what="... of which the API server took runs", value=count / (sent - begun), unit="runs/s"),
        Figure(what="... the controller's processor time", value=controller.processor_seconds() - spent, unit="s"),
        Figure(what="... its memory, at its peak", value=controller.memory(peak=True), unit="MB", at_most=120),
        Figure(what="... Jobs made twice", value=len(watcher.names) - len(set(watcher.names)), unit="Jobs", at_most=0),
    ]


async def _status(cluster: KubernetesCluster) -> list[Figure]:
    page = await cluster.list(RUN, _SPACE)
    largest = max(len(json.dumps(run.get("status") or {})) for run in page.items)
    return [Figure(what="largest status", value=largest / 1024, unit="KiB", at_most=8)]


async def _settled(cluster: KubernetesCluster, controller: Controller, seconds: float) -> list[Figure]:
    """Calls besides watches and the Lease while nothing changes; a tenth of the runs are suspended, the others are at work."""
    page = await cluster.list(RUN, _SPACE, limit=200)
    for run in page.items:
        await cluster.patch(RUN, _SPACE, run["metadata"]["name"], {"spec": {"suspend": True}})
    before = await asyncio.to_thread(controller.calls)
    while True:  # until it is quiet
        await asyncio.sleep(5)
        now = await asyncio.to_thread(controller.calls)
        if _besides(now) - _besides(before) == 0:
            break
        before = now
    await asyncio.sleep(seconds)
    found = _besides(await asyncio.to_thread(controller.calls)) - _besides(now)
    return [
        Figure(what=f"calls of settled and suspended runs in {seconds:g} s besides watches and Lease", value=found, unit="calls", at_most=0)
    ]


def _besides(calls: Counter[str]) -> int:
    """Calls that are neither of the Lease nor lists and watches."""
    return sum(count for name, count in calls.items() if "leases" not in name and 'verb="watch"' not in name and 'verb="list"' not in name)


async def _restart(cluster: KubernetesCluster, controller: Controller) -> list[Figure]:
    before = await _jobs(cluster)
    line = await asyncio.to_thread(controller.until, "works")
    imported = line["cpu_seconds"]
    await asyncio.sleep(8)
    settled = controller.processor_seconds()
    after = await _jobs(cluster)
    return [
        Figure(
            what=f"restart with {line['runs']} runs and {line['jobs']} Jobs: processor time to synced", value=imported, unit="s", at_most=1
        ),
        Figure(what="... until every run was looked at", value=settled, unit="s"),
        Figure(what="... memory", value=controller.memory(), unit="MB", at_most=120),
        Figure(what="... Jobs more than before", value=len(after - before), unit="Jobs", at_most=0),
    ]


async def _jobs(cluster: KubernetesCluster) -> set[str]:
    found: set[str] = set()
    rest = ""
    while True:
        page = await cluster.list(JOB, _SPACE, rest=rest)
        found |= {job["metadata"]["uid"] for job in page.items}
        rest = page.rest
        if not rest:
            return found


async def _failover(leading: Controller, controller: Any) -> list[Figure]:
    figures = []
    for number, (word, limit) in enumerate(((signal.SIGTERM, 2.0), (signal.SIGKILL, 17.0))):
        standby = controller(f"standby-{number}")
        await asyncio.sleep(6)  # its picture is whole
        asked = time.monotonic()
        leading.process.send_signal(word)
        await asyncio.to_thread(standby.until, "works")
        figures.append(
            Figure(what=f"failover on {word.name}: until the other works", value=time.monotonic() - asked, unit="s", at_most=limit)
        )
        leading.stop()
        leading = standby
    leading.stop()
    return figures


if __name__ == "__main__":
    sys.exit(main())
