"""`make bench`: run rows, print the table, write build/bench.json, and with --write-docs the table of docs/performance.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import figures, page
from benchmarks.material import Bench, full_model, true_text_encoders
from benchmarks.rows import ROWS
from kubetuner.diffusion import malloc

_WHERE = {"unet": "cuda", "threads": "cpu"}  # rows that run on another device only when they are named


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options choose; returns the exit code, which no figure changes."""
    options = parser().parse_args(arguments)
    out: Path = options.out
    chosen = options.only or [name for name in ROWS if _WHERE.get(name, options.device) == options.device]
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    malloc.keep_freed_memory(options.device)  # as `kubetuner run` does; for ours and for the bare ones
    bench = bench_of(options)
    kept: dict[str, Any] = json.loads(out.read_text()) if options.only and out.exists() else {"rows": {}}
    rows = figures.from_json(kept["rows"])
    for name in chosen:
        begin = time.monotonic()
        rows[name] = list(ROWS[name](bench))
        print(figures.as_text({name: rows[name]}), f"({time.monotonic() - begin:.0f} s)", sep="\n", flush=True)
    ordered = {name: rows[name] for name in ROWS if name in rows}
    account = {"machine": machine(bench), "rows": figures.as_json(ordered)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(account, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(f"{out}: written")
    if options.write_docs:
        page.write(options.write_docs, account)
        print(f"{options.write_docs}: written")
    return 0


def parser() -> argparse.ArgumentParser:
    """All options."""
    whole = argparse.ArgumentParser(prog="make bench", description=__doc__)
    whole.add_argument("--material", type=Path, default=Path("build/material"), help="folder with tiny-sdxl and photographs")
    whole.add_argument("--only", nargs="+", choices=list(ROWS), metavar="ROW", help=f"some of: {', '.join(ROWS)}")
    whole.add_argument("--pairs", type=int, default=5, help="how often both are measured (default: %(default)s)")
    whole.add_argument("--steps", type=int, default=20, help="training steps of one measurement (default: %(default)s)")
    whole.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    whole.add_argument("--model", choices=["tiny", "full"], default="tiny", help="full: SDXL's true size, random weights, 1024 px")
    whole.add_argument("--large", action="store_true", help="ingest of 100,000 files, too")
    whole.add_argument("--compile", action="store_true", help="torch.compile in the row unet, too")
    whole.add_argument("--out", type=Path, default=Path("build/bench.json"))
    whole.add_argument("--write-docs", type=Path, nargs="?", const=Path("docs/performance.md"), help="put the table into the page")
    return whole


def bench_of(options: argparse.Namespace) -> Bench:
    """What the options mean."""
    full = options.model == "full"
    folder = Path("build/bench").absolute()
    model = (options.material / "tiny-sdxl").absolute()
    used = full_model(folder / "full-sdxl", model) if full else model
    return Bench(
        model=used,
        text_model=used if full else true_text_encoders(folder / "true-text-encoders", model),
        photographs=(options.material / "photographs").absolute(),
        folder=folder,
        side=1024 if full else 384,
        batch_size=4 if full else 2,
        steps=options.steps,
        pairs=options.pairs,
        device=options.device,
        small_pictures=(1_000, 10_000, 100_000) if options.large else (1_000, 10_000),
        unet_batches=(1, 4, 8) if full else (1, 2),
        compile=options.compile or options.device != "cpu",
    )


def machine(bench: Bench) -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    gpu = torch.cuda.get_device_name() if bench.device == "cuda" else ""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": gpu or _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "pairs": bench.pairs,
        "side": bench.side,
        "batchSize": bench.batch_size,
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "diffusers", "transformers", "peft", "pillow", "pyarrow")},
        },
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
