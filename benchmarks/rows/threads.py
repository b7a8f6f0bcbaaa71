"""How long torch's threads should wait for each other awake (libgomp's setting), with the machine to oneself and with a neighbour."""

from __future__ import annotations

import statistics

from benchmarks.figures import Figure
from benchmarks.material import Bench
from benchmarks.measure import children

_SETTINGS = {
    "torch's own": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=30000": {"GOMP_SPINCOUNT": "30000"},
}


def measure(bench: Bench) -> list[Figure]:
    """Seconds of a bare step, alone and beside a process that does the same."""
    arguments = {"model": bench.model, "batch": bench.batch_size, "side": bench.side, "steps": bench.steps}
    times: dict[tuple[str, int], list[float]] = {(name, count): [] for name in _SETTINGS for count in (1, 2)}
    for _ in range(min(bench.pairs, 3)):
        for (name, count), seconds in times.items():
            accounts = children("bare-steps", arguments, count, variables=_SETTINGS[name])
            seconds.append(statistics.mean(account["seconds"] for account in accounts))
    return [
        Figure(
            what=f"bare step, {name}, {'alone' if count == 1 else 'two processes at a time'}", value=statistics.median(seconds), unit="s"
        )
        for (name, count), seconds in times.items()
    ]
