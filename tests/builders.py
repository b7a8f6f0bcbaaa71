"""Builders of valid things for tests: a tiny SDXL, folders of pictures, a TrainingRun's document.

Each gives the smallest true thing; a test changes only what it is about.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WORDS = (
    "a",
    "photograph",
    "picture",
    "painting",
    "of",
    "the",
    "red",
    "green",
    "blue",
    "grey",
    "cat",
    "dog",
    "house",
    "circle",
    "square",
    "striped",
)
"""Words that are one token each in the tests' vocabulary; all others are spelled in bytes."""

_COLOURS = {"red": (200, 40, 30), "green": (40, 170, 60), "blue": (40, 70, 200), "grey": (128, 128, 128)}


def merges(words: Sequence[str] = WORDS) -> list[str]:
    """Merges of a vocabulary in CLIP's form that joins each of `words` from left to right."""
    rows: dict[str, None] = {}
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        left = parts[0]
        for right in parts[1:]:
            rows[f"{left} {right}"] = None
            left += right
    return list(rows)


def tiny_model(folder: Path, *, seed: int = 0, words: Sequence[str] = WORDS) -> Path:
    """The smallest SDXL of true structure, in diffusers' layout: takes a second or two, most of it to import diffusers.

    Prefer the session's fixture `tiny_sdxl`, which is this one made once and must not be written to.
    """
    from tests.material import tiny_sdxl  # imports torch: tests of the rooms without torch use the other builders

    sizes = tiny_sdxl.Sizes(unet=(32, 64, 64), transformers=(1, 1, 2), vae=(32, 32, 32, 32), text=(64, 128), layers=(2, 3))
    return tiny_sdxl.write(folder, merges=merges(words), sizes=sizes, seed=seed)


def picture(size: tuple[int, int], *, colour: str = "red", seed: int = 0) -> Image.Image:
    """A picture of (width, height) with a gradient, so that crops differ from place to place, and a little noise."""
    width, height = size
    down, across = np.mgrid[0:height, 0:width]
    shade = (0.5 + 0.25 * across / width + 0.25 * down / height)[..., None] * np.array(_COLOURS[colour])
    noise = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(shade + noise, 0, 255).astype(np.uint8), "RGB")


def photographs(folder: Path, sizes: Sequence[tuple[int, int]] = ((64, 64),) * 4, *, suffix: str = ".png") -> list[Path]:
    """Pictures of these (width, height), whose file names are captions for captionStrategy filename; in the order of `sizes`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, size in enumerate(sizes):
        colour = list(_COLOURS)[number % len(_COLOURS)]
        path = folder / f"a_{colour}_picture_{number:03d}{suffix}"
        picture(size, colour=colour, seed=number).save(path)
        paths.append(path)
    return paths


_DOCUMENT: dict[str, Any] = {
    "apiVersion": "kubetuner.dev/v1alpha1",
    "kind": "TrainingRun",
    "metadata": {"name": "tiny"},
    "spec": {
        "seed": 1,
        "model": {"family": "sdxl", "path": "tiny-sdxl"},
        "datasets": [{"id": "photographs", "source": {"uri": "photographs"}, "resolution": 64, "resolutionType": "pixel_area"}],
        "train": {"lora": {"rank": 2}, "optimizer": {"learningRate": 0.001}, "batchSize": 2, "maxSteps": 2, "mixedPrecision": "fp32"},
        "evaluate": {"prompts": ["a photograph of a cat"], "resolutions": ["64x64"], "steps": 2},
    },
}


def run_document(changes: Mapping[str, Any] | None = None, /, **parts: Any) -> dict[str, Any]:
    """A valid TrainingRun as YAML gives it; paths in it are relative to the folder of the run.

    `parts` are laid over the spec, mappings merged and all else replaced: `run_document(train={"maxSteps": 4})`.
    `changes` name single places, `run_document({"datasets[0].crop": True})`; the value None removes the key.
    """
    document = copy.deepcopy(_DOCUMENT)
    _merge(document["spec"], parts)
    for path, value in (changes or {}).items():
        _set(document["spec"], path, value)
    return document


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    for key, value in source.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = copy.deepcopy(value)


def _set(target: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.replace("[", ".[").split(".")
    place: Any = target
    for part in parents:
        place = place[int(part[1:-1])] if part.startswith("[") else place.setdefault(part, {})
    if last.startswith("["):
        place[int(last[1:-1])] = value
    elif value is None:
        place.pop(last, None)
    else:
        place[last] = value
