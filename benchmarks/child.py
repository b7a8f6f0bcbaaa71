"""Work that is measured in a process of its own: `python -m benchmarks.child WORK ARGUMENTS`; says what it found as a line of JSON.

Imports happen inside the functions, as what is imported is part of what is measured.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_BEGUN = time.time()


def ingest(arguments: dict[str, Any]) -> dict[str, Any]:
    """Ingest over a folder of pictures: seconds and peak memory."""
    from benchmarks.measure import peak_bytes
    from kubetuner.context import StageContext
    from kubetuner.ingest.core.run import run
    from kubetuner.spec.load import parse_run
    from kubetuner.spec.resolve import resolve
    from kubetuner.storage.directory import DirectoryStore

    spec = resolve(parse_run(arguments["document"])).spec
    ctx = StageContext(store=DirectoryStore(Path(arguments["store"])), device="cpu")
    begin = time.perf_counter()
    run(spec, None, ctx)
    return {"seconds": time.perf_counter() - begin, "peak": peak_bytes(), "read": ctx.work["imagesRead"]}


def train(arguments: dict[str, Any]) -> dict[str, Any]:
    """The stage train over a cache that is there: peak memory."""
    from benchmarks.measure import peak_bytes
    from kubetuner.artifacts.objects import ArtifactRef
    from kubetuner.context import StageContext
    from kubetuner.diffusion import malloc
    from kubetuner.spec.load import parse_run
    from kubetuner.spec.resolve import resolve
    from kubetuner.storage.directory import DirectoryStore
    from kubetuner.train.core.run import run

    malloc.keep_freed_memory(arguments["device"])
    spec = resolve(parse_run(arguments["document"])).spec
    ctx = StageContext(store=DirectoryStore(Path(arguments["store"])), device=arguments["device"])
    run(spec, ArtifactRef(noun="cache", fingerprint=arguments["cache"]), ctx)
    return {"peak": peak_bytes()}


def bare_train(arguments: dict[str, Any]) -> dict[str, Any]:
    """A bare loop over batches in a file: peak memory."""
    import torch
    from safetensors import safe_open

    from benchmarks import bare
    from benchmarks.measure import peak_bytes
    from kubetuner.diffusion import malloc

    malloc.keep_freed_memory(arguments["device"])
    kept = arguments["settings"]
    settings = bare.Settings(**{**kept, "dtype": getattr(torch, kept["dtype"]), "device": torch.device(kept["device"])})
    training = bare.Training(Path(arguments["model"]), settings)
    names = ("clean", "noise", "timesteps", "hidden", "pooled", "time_ids")
    with safe_open(arguments["batches"], framework="pt") as file:
        for number in range(arguments["steps"]):
            training.step({name: file.get_tensor(f"{number:06d}.{name}") for name in names})
    return {"peak": peak_bytes()}


def bare_steps(arguments: dict[str, Any]) -> dict[str, Any]:
    """A bare loop over one batch of noise: median seconds of a step, of the second half of all."""
    import statistics

    import torch

    from benchmarks import bare
    from kubetuner.diffusion import malloc

    malloc.keep_freed_memory("cpu")
    training = bare.Training(Path(arguments["model"]), bare.Settings(device=torch.device("cpu")))
    batch = bare.noise(training, arguments["batch"], arguments["side"])
    times = []
    for _ in range(arguments["steps"]):
        begin = time.perf_counter()
        training.step(batch)
        times.append(time.perf_counter() - begin)
    return {"seconds": statistics.median(times[len(times) // 2 :])}


def bare_start(arguments: dict[str, Any]) -> dict[str, Any]:
    """What no training can do without: import torch, the U-Net's class and PEFT, load the U-Net. When each was done, by time.time."""
    import torch
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig

    imported = time.time()
    unet = UNet2DConditionModel.from_pretrained(Path(arguments["model"]) / "unet", torch_dtype=getattr(torch, arguments["dtype"]))
    unet.to(arguments["device"]).requires_grad_(False)
    loaded = time.time()
    assert LoraConfig
    return {"begun": _BEGUN, "imported": imported, "loaded": loaded, "cpu": sum(os.times()[:2])}


def start(arguments: dict[str, Any]) -> dict[str, Any]:
    """What `kubetuner run` does until its first training step is done, by part."""
    from benchmarks.start import to_first_step

    return {"begun": _BEGUN, **to_first_step(Path(arguments["file"]), arguments["store"], arguments["device"])}


def main() -> None:
    """Run one work on the cores that it may have."""
    work, arguments = sys.argv[1], json.loads(sys.argv[2])
    os.sched_setaffinity(0, arguments["cores"])
    works = {"ingest": ingest, "train": train, "bare-train": bare_train, "bare-start": bare_start, "bare-steps": bare_steps, "start": start}
    print(json.dumps(works[work](arguments)), flush=True)


if __name__ == "__main__":
    main()
