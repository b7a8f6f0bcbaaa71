"""config.json's keys for evaluation as `spec.evaluate`, with SimpleTuner's defaults where ours differ."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kubetuner.spec.simpletuner.source import Keys, read_json

Json = dict[str, Any]


def evaluate(keys: Keys, base: Path, *, held_out: bool) -> Json:
    """`spec.evaluate`; `held_out` says whether there is an eval dataset, `base` is where relative files start."""
    prompts = _prompts(keys, base)
    if keys.flag("validation_disable"):
        prompts = []
    if keys.flag("eval_loss_disable"):
        keys.refuse("eval_loss_disable", "true given; disable the eval datasets instead")
    images, timesteps = keys.whole("num_eval_images", default=4), keys.whole("eval_timesteps", default=28)
    sampler = keys.text("validation_noise_scheduler") or "ddim"
    if sampler not in ("ddim", "ddpm", "euler", "euler-a", "unipc", "dpm++"):
        keys.refuse("validation_noise_scheduler", f"{sampler} given; the run says ddim")
        sampler = "ddim"
    return {
        "prompts": prompts,
        "negativePrompt": keys.text("validation_negative_prompt"),
        "resolutions": _resolutions(keys),
        "guidance": keys.number("validation_guidance", default=7.5),
        "guidanceRescale": keys.number("validation_guidance_rescale"),
        "steps": keys.whole("validation_num_inference_steps", default=30),
        "seed": keys.whole("validation_seed"),
        "numImages": keys.whole("num_validation_images"),
        "sampler": sampler,
        "loss": {"numImages": images, "numTimesteps": timesteps} if held_out else None,
    }


def _prompts(keys: Keys, base: Path) -> list[str]:
    prompt, library = keys.text("validation_prompt"), keys.text("user_prompt_library")
    prompts = [prompt] if prompt else []
    if library is None:
        return prompts
    path = next((path for path in (base / library, base.parent / library) if os.path.isfile(path)), None)
    if path is None:
        keys.refuse("user_prompt_library", f"{library} given, which is not there; list its prompts in evaluate.prompts")
        return prompts
    entries = read_json(path)
    for entry in entries.values() if isinstance(entries, dict) else []:
        text = entry.get("prompt") if isinstance(entry, dict) else entry
        if isinstance(text, str) and text and text not in prompts:
            prompts.append(text)
        if isinstance(entry, dict) and set(entry) - {"prompt"}:
            keys.refuse("user_prompt_library", "settings beside a prompt (as adapter_strength) are not carried; the prompt is")
    return prompts


def _resolutions(keys: Keys) -> list[str]:
    found = []
    for part in (keys.text("validation_resolution") or "256").split(","):
        sides = part.strip().lower().split("x")
        if len(sides) > 2 or not all(side.strip().isdecimal() and len(side) <= 6 for side in sides):
            raise keys.wrong("validation_resolution", part.strip(), "1024 or 1024x768 is expected")
        width, height = (round(int(side) / 16) * 16 for side in (sides[0], sides[-1]))
        if f"{width}x{height}" not in found:
            found.append(f"{width}x{height}")
    return found
