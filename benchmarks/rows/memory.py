"""Peak memory of a process that trains against one with the bare loop."""

from __future__ import annotations

from dataclasses import asdict

from benchmarks import batches
from benchmarks.figures import Figure
from benchmarks.material import Bench, cached
from benchmarks.measure import child
from kubetuner.diffusion.precision import choose_device
from kubetuner.storage.directory import DirectoryStore


def measure(bench: Bench) -> list[Figure]:
    """Both in processes of their own, over the same batches; memory does not vary as time does, so once each."""
    document = bench.document()
    spec = bench.spec()
    with bench.scratch() as root:
        ctx = bench.context(DirectoryStore(root / "store"))
        source = cached(spec, ctx)
        batches.keep(batches.collect(spec, source, ctx), root / "batches.safetensors")
        settings = batches.settings(spec, choose_device(bench.device))
        plain = {**asdict(settings), "dtype": str(settings.dtype).removeprefix("torch."), "device": settings.device.type}
        common = {"device": bench.device}
        ours = child("train", {**common, "document": document, "store": root / "store", "cache": source.fingerprint})["peak"]
        given = {"settings": plain, "model": bench.model, "batches": root / "batches.safetensors", "steps": bench.steps}
        bare = child("bare-train", {**common, **given})["peak"]
    return [
        Figure(what="peak memory of a training process above the bare loop's", value=(ours - bare) / 1e6, unit="MB", at_most=150),
        Figure(what="peak memory of a training process", value=ours / 1e6, unit="MB"),
    ]
