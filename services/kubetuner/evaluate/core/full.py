"""Exports of a full fine-tune: the diffusers folder with the trained U-Net among the base's other parts, and one single-file checkpoint."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.loaders import single_file_utils
from safetensors import safe_open

from kubetuner.diffusion import layout, load, single_file, tensors
from kubetuner.diffusion.load import ModelSource
from kubetuner.diffusion.tensors import Entry
from kubetuner.errors import DataError
from kubetuner.evaluate.core.export import compare_tensors, scratch

SINGLE: Final = "model.safetensors"
FOLDER: Final = "diffusers"
_WEIGHTS: Final = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>\w+))?(?:-\d+-of-\d+)?\.safetensors")
_OLD_ATTENTION: Final = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_COPIED: Final = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")

State = Mapping[str, torch.Tensor]


def single_file_entries(source: ModelSource, state: State) -> list[Entry]:
    """The whole model by the single file's names: the trained U-Net, and the base's other parts read when their turn comes."""
    rows = single_file.convert("unet", tensors.entries(state), unet_config(source))
    for part in ("vae", "text_encoder", "text_encoder_2"):
        rows += _base_part(source, part)
    return rows


def verify(source: ModelSource, state: State) -> dict[str, str]:
    """Write the single file, read it back by diffusers' converters, compare every tensor; gives the file's digest of tensors."""
    with scratch() as folder:
        path = folder / SINGLE
        digest = tensors.write(path, single_file_entries(source, state), {})
        for part in single_file.PREFIX:
            expected = tensors.entries(state) if part == "unet" else _diffusers_part(source, part)
            compare_tensors(f"{SINGLE} ({part})", expected, _read_back(path, part, source))
    return {SINGLE: digest}


def write_folder(folder: Path, source: ModelSource, state: State, *, prediction_type: str, zero_snr: bool) -> None:
    """The model in diffusers' layout; model_index.json last, so that a folder that has it is whole."""
    for part in _COPIED:
        _copy_part(folder / part, source, part)
    _copy_part(folder / "vae", source, "vae")
    (folder / "unet").mkdir(parents=True)
    shutil.copyfile(source.folder("unet") / "config.json", folder / "unet" / "config.json")
    tensors.write(folder / "unet" / "diffusion_pytorch_model.safetensors", tensors.entries(state), {"format": "pt"})
    scheduler = load.load_scheduler_config(source) | {"prediction_type": prediction_type}
    if zero_snr:  # the last timestep must be visited, or the rescaled schedule does nothing
        scheduler |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    (folder / "scheduler").mkdir()
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(folder / "model_index.json", layout.read_json(source.folder("unet").parent / "model_index.json"))


def unet_config(source: ModelSource) -> dict[str, Any]:
    """The U-Net's config.json."""
    return layout.read_json(source.folder("unet") / "config.json")


def _base_part(source: ModelSource, part: str) -> list[Entry]:
    """A part of the base by the single file's names."""
    source = source.vae if part == "vae" and source.vae is not None else source
    if (single := source.single_file(part)) is not None:
        rows = single_file.read_entries([single])
        outer = {"vae": "first_stage_model.", "text_encoder": "conditioner.embedders.0.", "text_encoder_2": "conditioner.embedders.1."}[
            part
        ]
        found = [row for row in rows if row.name.startswith(outer)]
        if found or part != "vae":
            return found
        return [single_file.renamed(row, outer + row.name) for row in rows]  # an autoencoder by itself carries no prefix
    return single_file.convert(part, _diffusers_part(source, part), layout.read_json(source.folder(part) / "config.json"))


def _diffusers_part(source: ModelSource, part: str) -> list[Entry]:
    """A part of the base by diffusers' names; what a single file holds is given as diffusers reads it."""
    source = source.vae if part == "vae" and source.vae is not None else source
    if (single := source.single_file(part)) is not None:
        return tensors.entries(_read_back(single, part, source))
    rows = single_file.read_entries(weight_files(source, part))
    if part == "vae":
        return [single_file.renamed(row, _modern(row.name)) for row in rows]
    return [single_file.renamed(row, row.name.removeprefix("text_model.")) for row in rows if not row.name.endswith("position_ids")]


def _modern(name: str) -> str:
    """An autoencoder's tensor by today's name; those saved before diffusers 0.15 named the attention otherwise."""
    return re.sub(r"(attentions\.0\.)(query|key|value|proj_attn)\.", lambda match: match[1] + _OLD_ATTENTION[match[2]] + ".", name)


def weight_files(source: ModelSource, part: str) -> list[Path]:
    """The part's weight files of the run's variant; a folder often holds several variants."""
    found = []
    for path in sorted(source.folder(part).iterdir()):
        match = _WEIGHTS.fullmatch(path.name)
        if match is not None and (match["variant"] or "") == source.variant:
            found.append(path)
    if not found:
        raise DataError(
            f"model {source.name}: {source.folder(part)} holds no weights of variant {source.variant or 'none'}; give a complete model"
        )
    return found


def _read_back(path: Path, part: str, source: ModelSource) -> dict[str, torch.Tensor]:
    """A part of a single file by diffusers' own converters, in diffusers' names (text encoders without `text_model.`)."""
    with safe_open(str(path), framework="pt") as file:
        prefix = single_file.PREFIX[part].removesuffix("transformer.text_model.") if part == "text_encoder" else single_file.PREFIX[part]
        held = {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118 (not a mapping)
        if not held:
            held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if part == "unet":
        found = single_file_utils.convert_ldm_unet_checkpoint(held, unet_config(source))
    elif part == "vae":
        found = single_file_utils.convert_ldm_vae_checkpoint(held, layout.read_json(source.folder("vae") / "config.json"))
    elif part == "text_encoder":
        found = single_file_utils.convert_ldm_clip_checkpoint(held)
    else:
        found = single_file_utils.convert_open_clip_checkpoint(None, held, prefix=prefix)
    return {name.removeprefix("text_model."): value for name, value in found.items() if not name.endswith("position_ids")}


def _copy_part(folder: Path, source: ModelSource, part: str) -> None:
    """A part as it is: file by file, or its weights in diffusers' names where they lie in a single file or in several."""
    source = source.vae if part == "vae" and source.vae is not None else source
    folder.mkdir(parents=True)
    for path in sorted(source.folder(part).iterdir()):
        if path.suffix in (".json", ".txt") and ".safetensors.index" not in path.name:
            shutil.copyfile(path, folder / path.name)
    if part.startswith("tokenizer"):
        return
    target = folder / ("diffusion_pytorch_model.safetensors" if part == "vae" else "model.safetensors")
    files = [] if source.single_file(part) is not None else weight_files(source, part)
    if len(files) == 1:
        shutil.copyfile(files[0], target)
        return
    rows = _diffusers_part(source, part)
    if part != "vae":  # with the prefix that transformers 4 needs and 5 accepts
        rows = [row if row.name.startswith("text_projection") else single_file.renamed(row, f"text_model.{row.name}") for row in rows]
    tensors.write(target, rows, {"format": "pt"})


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")
