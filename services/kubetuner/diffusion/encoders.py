"""The frozen encoders as makers of pool items; loaded when the first item is asked for.

`id` stands for all that decides an item's content besides its own key: weights, tokenizers, precision, and the version of the code here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL

from kubetuner.artifacts.objects import fingerprint
from kubetuner.artifacts.pool import Array, Item
from kubetuner.diffusion import latents, layout, load, text
from kubetuner.diffusion.load import ModelSource
from kubetuner.diffusion.precision import dtype_name
from kubetuner.errors import KubeTunerError

_VERSION: Final = 1
_NAMES: Final = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_TYPES: Final = {name: dtype for dtype, name in _NAMES.items()}


class TextEncoder:
    """Captions to items of `hidden` [77, 2048] and `pooled` [1280]."""

    def __init__(self, model: ModelSource, *, dtype: torch.dtype, device: torch.device) -> None:
        self._model, self._dtype, self._device = model, dtype, device

    @cached_property
    def id(self) -> str:
        """Digest of both encoders and tokenizers, in this precision."""
        parts = [self._model.digest(part) for part in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")]
        return fingerprint("text encoder", _VERSION, dtype_name(self._dtype), parts)

    @cached_property
    def _encoders(self) -> load.TextEncoders:
        return load.load_text_encoders(self._model, dtype=self._dtype, device=self._device)

    def encode(self, captions: Sequence[str]) -> list[Item]:
        """One item a caption. Raises KubeTunerError that names a caption whose embedding is not finite."""
        hidden, pooled = (tensor.cpu() for tensor in text.encode(self._encoders, captions))
        for caption in _not_finite(captions, hidden, pooled):
            for part in ("text_encoder", "text_encoder_2"):
                load.require_finite(self._model, part)
            raise KubeTunerError(
                f"the text encoders give numbers that are not finite for the caption {caption[:80]!r}; the model is damaged"
            )
        return [{"hidden": row, "pooled": pooled_row} for row, pooled_row in zip(pack(hidden), pack(pooled), strict=True)]


class VaeEncoder:
    """Pictures to items of `moments` [2, 4, h, w]."""

    def __init__(self, model: ModelSource, *, dtype: torch.dtype, device: torch.device) -> None:
        self._model, self._dtype, self._device = model, dtype, device

    @cached_property
    def id(self) -> str:
        """Digest of the autoencoder, in this precision."""
        return fingerprint("vae", _VERSION, dtype_name(self._dtype), self._model.digest("vae"))

    @cached_property
    def scaling(self) -> float:
        """The number that latents are multiplied by before the U-Net sees them: 0.13025 for SDXL."""
        source = self._model.vae or self._model
        return float(layout.read_config("vae", source.folder("vae") / "config.json").get("scaling_factor", 0.18215))

    @cached_property
    def _vae(self) -> AutoencoderKL:
        return load.load_vae(self._model, dtype=self._dtype, device=self._device)

    def encode(self, pictures: Sequence[np.ndarray], names: Sequence[str]) -> list[Item]:
        """One item a picture, all of one size, given as bytes [H, W, 3]. Raises KubeTunerError that names a picture with NaN."""
        moments = latents.encode(self._vae, np.stack(pictures)).cpu()
        for name in _not_finite(names, moments):
            raise KubeTunerError(
                f"the autoencoder gives numbers that are not finite for {name} in {dtype_name(self._dtype)}; "
                "set embed.vae.precision: fp32, or leave the picture out"
            )
        return [{"moments": row} for row in pack(moments)]


def _not_finite(names: Sequence[str], *tensors: torch.Tensor) -> list[str]:
    """Names of the rows that hold NaN or infinity; one look at the whole batch where none does."""
    if all(math.isfinite(tensor.sum(dtype=torch.float32).item()) for tensor in tensors):  # a sum of what is not finite is not either
        return []
    return [name for name, *rows in zip(names, *tensors, strict=True) if not all(bool(torch.isfinite(row).all()) for row in rows)]


def pack(batch: torch.Tensor) -> list[Array]:
    """The rows of a batch as plain bytes."""
    batch = batch.detach().contiguous().cpu()
    rows = batch.reshape(len(batch), -1).view(torch.uint8).numpy()
    return [Array(dtype=_NAMES[batch.dtype], shape=tuple(batch.shape[1:]), data=row.tobytes()) for row in rows]


def unpack(array: Array) -> torch.Tensor:
    """The tensor back from its bytes."""
    return torch.frombuffer(bytearray(array.data), dtype=_TYPES[array.dtype]).reshape(array.shape)
