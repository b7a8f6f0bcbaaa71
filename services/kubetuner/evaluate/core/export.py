"""The proof that what is exported is what was trained: each file is written, read back by diffusers' own loader, and compared.

A LoRA: the loaded tensors, the scale of every module, and the U-Net's output on a fixed input.
A full model: every tensor of the single file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

from kubetuner.artifacts.objects import Json
from kubetuner.diffusion import lora, tensors
from kubetuner.errors import KubeTunerError
from kubetuner.evaluate.core import weights

KOHYA: Final = "lora.safetensors"
DIFFUSERS: Final = "diffusers/pytorch_lora_weights.safetensors"
_LOADED: Final = "exported"
_TOLERANCE: Final = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of two outputs, in parts of the largest output."""


class ExportError(KubeTunerError):
    """A file does not give what was trained; it must not reach a user."""


def lora_layouts(
    training: Json, state: Mapping[str, torch.Tensor], unet: Mapping[str, Any]
) -> dict[str, tuple[lora.Tensors, dict[str, str]]]:
    """Tensors and least header of each LoRA file, by its name below the output folder. `unet` is the U-Net's config."""
    rank, alpha = training["adapter"]["rank"], training["adapter"]["alpha"]
    return {KOHYA: (lora.kohya_sgm(state, alpha, rank, unet), {}), DIFFUSERS: lora.diffusers_layout(state, alpha, rank)}


def verify_lora(unet: UNet2DConditionModel, training: Json, state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Load each LoRA file into the base U-Net and compare it with the trained adapter; gives each file's digest of tensors.

    The U-Net comes in wearing the state and goes out without adapters. Raises ExportError at a difference.
    """
    expected = Seen(unet, weights.ADAPTER)
    unet.unload_lora()
    digests = {}
    with scratch() as folder:
        for name, (layout, header) in lora_layouts(training, state, unet.config).items():
            path = folder / Path(name).name
            digests[name] = tensors.write(path, tensors.entries(layout), header)
            _load_lora(unet, path)
            expected.compare(Seen(unet, _LOADED), name)
            unet.unload_lora()
    return digests


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of the system's for trying out exports, gone afterwards."""
    try:
        with tempfile.TemporaryDirectory(prefix="kubetuner-export-") as folder:
            yield Path(folder)
    except OSError as error:
        raise KubeTunerError(
            f"the exports cannot be tried out in the system's temporary folder ({error.strerror}); free space there, or set TMPDIR, "
            "and run again"
        ) from error


class Seen:
    """What an adapter does to a U-Net."""

    def __init__(self, unet: UNet2DConditionModel, adapter: str) -> None:
        self.state = weights.adapter_state(unet, adapter)
        self.scales = weights.adapter_scales(unet, adapter)
        self.output = fixed_output(unet)
        self.dtype = unet.dtype

    def compare(self, other: Seen, name: str) -> None:
        """Raises ExportError where the other one is not the same."""
        if self.state.keys() != other.state.keys():
            differing = sorted(self.state.keys() ^ other.state.keys())
            raise ExportError(f"{name}: {len(differing)} tensors are not those of the adapter (first: {differing[0]})")
        changed = [key for key, value in self.state.items() if not torch.equal(value, other.state[key])]
        if changed:
            raise ExportError(f"{name}: {len(changed)} tensors read back differently (first: {changed[0]})")
        scaled = [path for path, scale in self.scales.items() if abs(other.scales[path] - scale) > 1e-6 * abs(scale)]
        if scaled:
            raise ExportError(
                f"{name}: {scaled[0]} is scaled by {other.scales[scaled[0]]:g}, in the training it was {self.scales[scaled[0]]:g}"
            )
        difference = float((self.output - other.output).abs().max() / self.output.abs().max().clamp(min=1e-12))
        if not difference <= _TOLERANCE[self.dtype]:
            raise ExportError(f"{name}: the U-Net's output with it differs by {difference:.2e} from the trained adapter's")


@torch.no_grad()
def fixed_output(unet: UNet2DConditionModel) -> torch.Tensor:
    """The U-Net's prediction, in fp32 on the CPU, for one fixed small input."""
    config = unet.config
    generator = torch.Generator("cpu").manual_seed(0)
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    inputs = [
        torch.randn(shape, generator=generator)
        for shape in ((1, config.in_channels, 16, 16), (1, 77, config.cross_attention_dim), (1, pooled))
    ]
    latents, hidden, text = (tensor.to(unet.device, unet.dtype) for tensor in inputs)
    time_ids = torch.tensor([[128, 128, 0, 0, 128, 128]], dtype=unet.dtype, device=unet.device)
    conditions = {"text_embeds": text, "time_ids": time_ids}
    output: torch.Tensor = unet(latents, 500, hidden, added_cond_kwargs=conditions).sample
    return output.float().cpu()


def _load_lora(unet: UNet2DConditionModel, path: Path) -> None:
    """What `load_lora_weights` does for the U-Net."""
    loader = StableDiffusionXLPipeline
    found, alphas, metadata = loader.lora_state_dict(
        str(path.parent), weight_name=path.name, unet_config=unet.config, return_lora_metadata=True
    )
    loader.load_lora_into_unet(found, network_alphas=alphas, unet=unet, adapter_name=_LOADED, metadata=metadata)


def compare_tensors(name: str, expected: Iterable[tensors.Entry], found: Mapping[str, torch.Tensor]) -> None:
    """Raises ExportError unless the found tensors are exactly the expected ones."""
    seen = set()
    for row in expected:
        seen.add(row.name)
        if row.name not in found or not torch.equal(found[row.name], row.load()):
            raise ExportError(f"{name}: the tensor {row.name} does not read back as it was trained")
    if seen != found.keys():
        raise ExportError(f"{name}: {len(found.keys() - seen)} tensors read back that the model does not have")
