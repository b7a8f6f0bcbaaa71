"""From diffusers' names of an SDXL U-Net's modules to those of Stability's `sgm` code, which single-file checkpoints and kohya LoRAs use.

The numbers of sgm's blocks follow from `layers_per_block`, so every U-Net of SDXL's structure is mapped, a tiny one too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from kubetuner.errors import DataError

_OUTER: Final = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_INNER: Final = re.compile(r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def unet_module(path: str, config: Mapping[str, Any]) -> str:
    """sgm's name of a U-Net module, as `down_blocks.1.attentions.0.proj_in` -> `input_blocks.4.1.proj_in`.

    `config` is the U-Net's (`layers_per_block`, `up_block_types`). Raises DataError for a module that SDXL does not have.
    """
    if path in _OUTER:
        return _OUTER[path]
    match = _INNER.fullmatch(path)
    layers = config["layers_per_block"]
    if match is None or not isinstance(layers, int):
        raise DataError(f"U-Net module {path!r} has no counterpart in SDXL's original layout; leave it out of the trained modules")
    side, block, kind, layer, rest = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
    if kind == "resnets":
        first, dot, last = rest.partition(".")
        rest = _RESNET.get(first, first) + dot + last
    if side is None:
        return f"middle_block.{1 if kind == 'attentions' else 2 * layer}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * (layers + 1)}.0.op"
    if kind == "upsamplers":
        place = 2 if "Attn" in config["up_block_types"][block] else 1
        return f"output_blocks.{block * (layers + 1) + layers}.{place}.conv"
    number = block * (layers + 1) + layer
    return f"{'input' if side == 'down' else 'output'}_blocks.{number + 1 if side == 'down' else number}.{int(kind == 'attentions')}.{rest}"


def unet_parameter(name: str, config: Mapping[str, Any]) -> str:
    """sgm's name of a U-Net parameter (`….weight`, `….bias`)."""
    module, _, leaf = name.rpartition(".")
    return f"{unet_module(module, config)}.{leaf}"
