"""What a LoRA file says about itself: kohya's `ss_*` keys, its two hashes, and Stability's modelspec 1.0.1.

A1111 hides a LoRA from SDXL unless `ss_base_model_version` begins with `sdxl_`, shows it by `ss_output_name`, and lists `ss_tag_frequency`.
No date, host or path: equal runs give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch

from kubetuner.diffusion import tensors

_IMPLEMENTATION: Final = "https://github.com/Stability-AI/generative-models"
_ARCHITECTURE: Final = "stable-diffusion-xl-v1-base"
_MOST_TAGS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a file came to be, as its header tells it."""

    name: str
    """Name of the run."""
    settings: Mapping[str, object]
    """kohya's keys without `ss_`, as `learning_rate` or `num_train_images`; None is written as kohya writes it."""
    captions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """How often each caption was used, by dataset."""
    prediction_type: str = "epsilon"
    """`epsilon` or `v_prediction`."""
    resolution: str = "1024x1024"
    """Size that the model draws at best."""


def kohya(state: Mapping[str, torch.Tensor], training: Training, *, rank: int, alpha: float) -> dict[str, str]:
    """The header of a LoRA in kohya's layout, its hashes included."""
    header = {
        "ss_v2": "False",
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": f"{alpha:g}",
        "ss_network_args": json.dumps({}),
        "ss_output_name": training.name,
        **{f"ss_{key}": "None" if value is None else str(value) for key, value in training.settings.items()},
        "ss_tag_frequency": json.dumps(tag_frequency(training.captions), ensure_ascii=False),
    }
    content = tensors.to_bytes(state, header)
    start = 8 + int.from_bytes(content[:8], "little")
    model_hash = hashlib.sha256(content[start:]).hexdigest()
    header |= {
        "sshs_model_hash": model_hash,
        "sshs_legacy_hash": hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8],  # A1111's first hash: 64 KiB after the first MiB
    }
    return header | modelspec(training, architecture=f"{_ARCHITECTURE}/lora", data_sha256=model_hash)


def modelspec(training: Training, *, data_sha256: str, architecture: str = _ARCHITECTURE) -> dict[str, str]:
    """Stability's modelspec keys; `data_sha256` is the SHA-256 of the file's tensors in hex."""
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": architecture,
        "modelspec.implementation": _IMPLEMENTATION,
        "modelspec.title": training.name,
        "modelspec.resolution": training.resolution,
        "modelspec.prediction_type": "v" if training.prediction_type == "v_prediction" else "epsilon",
        "modelspec.hash_sha256": f"0x{data_sha256}",
    }


def tag_frequency(captions: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """How often each comma-separated tag was seen, by dataset: the most frequent first, at most 1,000 of a dataset."""
    frequency: dict[str, dict[str, int]] = {}
    for dataset, counts in sorted(captions.items()):
        tags: dict[str, int] = {}
        for caption, count in counts.items():
            for tag in filter(None, map(str.strip, caption.split(","))):
                tags[tag] = tags.get(tag, 0) + count
        frequency[dataset] = dict(sorted(tags.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TAGS])
    return frequency
