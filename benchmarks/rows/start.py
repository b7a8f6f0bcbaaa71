"""From the start of `kubetuner run` on a warm store to its first training step, by part."""

from __future__ import annotations

import statistics

from benchmarks.figures import Figure
from benchmarks.material import Bench
from benchmarks.measure import child
from benchmarks.rows.second import Warm

_PARTS = {
    "import": "imports",
    "hash": "hashing the model's files",
    "load": "loading the U-Net",
    "step": "the first step itself",
    "rest": "all else: schema, finding the pictures, the cache and the training, building the LoRA",
    "total": "first training step is done",
}


def measure(bench: Bench) -> list[Figure]:
    """Median seconds of each part; loads that were one too many."""
    with Warm.made(bench) as warm:
        accounts = [child("start", warm.arguments(number)) for number in range(bench.pairs)]
    for account in accounts:
        account["rest"] = account["total"] - sum(account[part] for part in ("import", "hash", "load", "step"))
    loads = accounts[0]["loads"]
    wasted = loads["unet"] - 1 + loads["vae"] + loads["text encoders"]
    return [
        *(
            Figure(what=f"start on a warm store: {what}", value=statistics.median(account[part] for account in accounts), unit="s")
            for part, what in _PARTS.items()
        ),
        Figure(what="models loaded twice, or for nothing, before the first step", value=wasted, unit="", at_most=0),
    ]
