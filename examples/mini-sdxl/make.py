"""Makes the mini SDXL from nothing: the one command. Each step is passed over where its result is there; a stopped one goes on.

    python examples/mini-sdxl/make.py

Needs what `make quickstart` installs, and apt-get and dpkg-deb (Debian, Ubuntu) for the fonts; no root. On two cores an hour and a half.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "mini-sdxl"
BASE = BUILD / "base"
# Without these half of the time goes to the kernel, which takes memory back and gives it out again at each step.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_TOP_PAD_": "268435456"}


def steps(model: Path) -> list[tuple[Path, list[str]]]:
    """What is run, in order, each with the file that says that it has been run."""

    def script(name: str, *arguments: object) -> list[str]:
        return [sys.executable, str(HERE / name), *map(str, arguments)]

    run = [sys.executable, "-m", "kubetuner.cli.main", "run", str(HERE / "base.yaml")]
    unet = BUILD / "out" / "diffusers" / "unet" / "diffusion_pytorch_model.safetensors"
    return [
        (BUILD / "colour", script("emoji.py", "colour", "--out", BUILD / "colour")),
        (BUILD / "vae" / "figures.json", script("vae.py", "--out", BUILD / "vae")),
        (BASE / "text_encoder_2" / "figures.json", script("text.py", "--model", BASE)),
        (BASE / "model_index.json", script("base.py", "begin", "--vae", BUILD / "vae", "--out", BASE)),
        (unet, [*run, "--store", str(BUILD / "store"), "--out", str(BUILD / "out")]),
        (model / "model_index.json", script("base.py", "end", "--base", BASE, "--unet", unet, "--out", model)),
        (BUILD / "samples.png", script("sample.py", "--model", model, "--out", BUILD / "samples.png")),
    ]


def main() -> None:
    """Run what has not been run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUILD / "model", help="folder of the model that is made")
    arguments = parser.parse_args()
    for made, command in steps(arguments.model):
        if made.exists():
            print(f"{made} is there", flush=True)
            continue
        print(" ".join(command), flush=True)
        subprocess.run(command, env={**os.environ, **MEMORY}, check=True)


if __name__ == "__main__":
    main()
