"""A whole SDXL model as one .safetensors file in the layout of Stability's own release, as ComfyUI and A1111 load checkpoints.

    unet            -> model.diffusion_model.…
    vae             -> first_stage_model.…
    text_encoder    -> conditioner.embedders.0.transformer.text_model.…
    text_encoder_2  -> conditioner.embedders.1.model.…        (open_clip: one matrix for q, k and v; the projection transposed)

In: each part's tensors by diffusers' names, as entries that are read when their turn comes. Out: entries of the single file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open

from kubetuner.diffusion import sgm
from kubetuner.diffusion.tensors import Entry
from kubetuner.errors import DataError

PREFIX: Final = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "conditioner.embedders.0.transformer.text_model.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}
_VAE_ATTENTION: Final = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP_OUTER: Final = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
}
_OPEN_CLIP_INNER: Final = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_CLIP_LAYER: Final = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")


def read_entries(files: Iterable[Path]) -> list[Entry]:
    """Entries for all tensors of a part's weight files; shapes and types now, data later."""
    rows = []
    for path in files:
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (safe_open gives no mapping)
                view = file.get_slice(name)
                rows.append(Entry(name=name, shape=tuple(view.get_shape()), dtype=_dtype(view.get_dtype()), load=_reader(path, name)))
    return rows


def convert(part: str, rows: Iterable[Entry], config: Mapping[str, Any]) -> list[Entry]:
    """A part's entries under the single file's names. Raises DataError for a tensor that SDXL does not have."""
    if part == "unet":
        return [renamed(row, PREFIX[part] + sgm.unet_parameter(row.name, config)) for row in rows]
    if part == "vae":
        return [_vae(row, len(config["up_block_types"])) for row in rows]
    kept = [row for row in rows if not row.name.endswith("position_ids")]  # a counter, not a weight
    if part == "text_encoder":
        return [renamed(row, PREFIX[part] + row.name.removeprefix("text_model.")) for row in kept]
    return _open_clip(kept)


def renamed(row: Entry, name: str) -> Entry:
    """The same tensor under another name."""
    return Entry(name=name, shape=row.shape, dtype=row.dtype, load=row.load)


def _vae(row: Entry, blocks: int) -> Entry:
    """diffusers' autoencoder counts its decoder's blocks from the latent, the original from the picture."""
    name = row.name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda match: f"up.{blocks - 1 - int(match[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda match: f"up.{blocks - 1 - int(match[1])}.upsample.", name)
    name = re.sub(r"mid_block\.resnets\.(\d+)\.", lambda match: f"mid.block_{int(match[1]) + 1}.", name)
    attention = re.fullmatch(r"(\w+)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)", name)
    if attention is None:
        return renamed(row, PREFIX["vae"] + name)
    if attention[2] not in _VAE_ATTENTION:
        raise DataError(f"autoencoder tensor {row.name!r} has no counterpart in SDXL's original layout")
    name = f"{PREFIX['vae']}{attention[1]}.mid.attn_1.{_VAE_ATTENTION[attention[2]]}.{attention[3]}"
    if len(row.shape) != 2:
        return renamed(row, name)
    shape = (*row.shape, 1, 1)  # the original has 1x1 convolutions where diffusers has linear layers
    return Entry(name=name, shape=shape, dtype=row.dtype, load=lambda: row.load().reshape(shape))


def _open_clip(rows: list[Entry]) -> list[Entry]:
    by_name = {row.name.removeprefix("text_model."): row for row in rows}
    converted = []
    for name, row in by_name.items():
        layer = _CLIP_LAYER.fullmatch(name)
        if name == "text_projection.weight":
            converted.append(_transposed(row, PREFIX["text_encoder_2"] + _OPEN_CLIP_OUTER[name]))
        elif name in _OPEN_CLIP_OUTER:
            converted.append(renamed(row, PREFIX["text_encoder_2"] + _OPEN_CLIP_OUTER[name]))
        elif layer is None:
            raise DataError(f"text encoder tensor {row.name!r} has no counterpart in SDXL's original layout")
        elif layer[2] == "self_attn.q_proj":
            q, k, v = (by_name[f"encoder.layers.{layer[1]}.self_attn.{which}_proj.{layer[3]}"] for which in "qkv")
            converted.append(_stacked([q, k, v], f"{PREFIX['text_encoder_2']}transformer.resblocks.{layer[1]}.attn.in_proj_{layer[3]}"))
        elif layer[2] not in ("self_attn.k_proj", "self_attn.v_proj"):
            inner = _OPEN_CLIP_INNER[layer[2]]
            converted.append(renamed(row, f"{PREFIX['text_encoder_2']}transformer.resblocks.{layer[1]}.{inner}.{layer[3]}"))
    return converted


def _transposed(row: Entry, name: str) -> Entry:
    return Entry(name=name, shape=row.shape[::-1], dtype=row.dtype, load=lambda: row.load().T.contiguous())


def _stacked(rows: list[Entry], name: str) -> Entry:
    shape = (sum(row.shape[0] for row in rows), *rows[0].shape[1:])
    return Entry(name=name, shape=shape, dtype=rows[0].dtype, load=lambda: torch.cat([row.load() for row in rows]))


def _reader(path: Path, name: str) -> Callable[[], torch.Tensor]:
    def load() -> torch.Tensor:
        with safe_open(str(path), framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
            return tensor

    return load


_DTYPES: Final = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "I64": torch.int64,
    "I32": torch.int32,
}


def _dtype(name: str) -> torch.dtype:
    if name not in _DTYPES:
        raise DataError(f"tensors of type {name} are no weights of SDXL; convert the model to float32, float16 or bfloat16")
    return _DTYPES[name]
