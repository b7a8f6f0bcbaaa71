"""Images of the base model and of the tuned one, drawn from the same noise; each is drawn once for ever and kept in the store.

images/<fingerprint>/image.png    keyed by weights, prompt, size, seed and sampler: shared by all runs, and by a run that was killed
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from PIL import Image

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.context import StageContext
from kubetuner.errors import KubeTunerError
from kubetuner.v1alpha1.training_run_pb2 import Evaluate

NOUN: Final = "images"
_FORMAT: Final = 1
NAME: Final = "image.png"
"""The object that holds the picture."""

Embedding = tuple[torch.Tensor, torch.Tensor]
"""Hidden states [77, 2048] and pooled output [1280] of a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One image to draw, by whatever weights."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    seed: int


def shots(evaluate: Evaluate) -> list[Shot]:
    """prompts x resolutions x seeds, in the order of the page."""
    sizes = [tuple(map(int, resolution.split("x"))) for resolution in evaluate.resolutions]
    return [
        Shot(prompt=prompt, negative_prompt=evaluate.negative_prompt, width=width, height=height, seed=evaluate.seed + number)
        for prompt in evaluate.prompts
        for width, height in sizes
        for number in range(evaluate.num_images)
    ]


def shots_of(evaluate: Evaluate, caption: str, width: int, height: int) -> list[Shot]:
    """A picture's caption in its size x seeds."""
    return [
        Shot(prompt=caption, negative_prompt=evaluate.negative_prompt, width=width, height=height, seed=evaluate.seed + number)
        for number in range(evaluate.num_images)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawer:
    """Weights that draw every shot."""

    name: str
    """`base`, `tuned`, or `tuned-0.5` for another strength of the LoRA; part of the files' names."""
    scale: float
    """Strength of what was trained: 0 for the base model."""
    weights: object
    """Stands for the content of all parts of the model that draw."""


def drawers(evaluate: Evaluate, checkpoint: str, digests: Json) -> list[Drawer]:
    """The base model, what was trained, and the other strengths of it that are asked for."""
    others = sorted(scale for scale in evaluate.adapter_scales if scale not in (0, 1))
    return [
        Drawer(name="base", scale=0, weights=["base", digests]),
        Drawer(name="tuned", scale=1, weights=[checkpoint, digests]),
        *(Drawer(name=f"tuned-{scale:g}", scale=scale, weights=[checkpoint, digests, scale]) for scale in others),
    ]


def sampling(evaluate: Evaluate, *, prediction_type: str, zero_snr: bool, dtype: str) -> Json:
    """All besides the shot and the weights that decides an image."""
    return {
        "sampler": evaluate.sampler,
        "steps": evaluate.steps,
        "guidance": evaluate.guidance,
        "guidanceRescale": evaluate.guidance_rescale,
        "predictionType": prediction_type,
        "zeroSnr": zero_snr,
        "precision": dtype,
    }


def reference(shot: Shot, settings: Json, weights: object) -> ArtifactRef:
    """Name of an image; `weights` stands for the content of all parts of the model that draw it."""
    return ArtifactRef(noun=NOUN, fingerprint=fingerprint("image", _FORMAT, asdict(shot), settings, weights))


def missing(wanted: Mapping[ArtifactRef, Shot], ctx: StageContext) -> dict[ArtifactRef, Shot]:
    """Those that are not drawn yet."""
    return {ref: shot for ref, shot in wanted.items() if objects.find(ctx.store, ref) is None}


def read(ref: ArtifactRef, ctx: StageContext) -> bytes:
    """A drawn image as PNG."""
    return objects.read(ctx.store, ref, objects.load(ctx.store, ref), NAME)


def draw(
    pipeline: StableDiffusionXLPipeline,
    wanted: Mapping[ArtifactRef, Shot],
    settings: Json,
    embeddings: Mapping[str, Embedding],
    ctx: StageContext,
) -> None:
    """Draw and keep each of the wanted images, one after the other; a stop is heard between sampling steps."""
    for ref, shot in wanted.items():
        ctx.check()
        pixels = _sample(pipeline, shot, settings, embeddings, ctx)
        what = f"the image of {shot.prompt[:60]!r} at {shot.width}x{shot.height}"
        objects.commit(ctx.store, ref, {"format": _FORMAT, "shot": asdict(shot), "sampling": settings}, {NAME: png(pixels, what)})
        ctx.work["imagesGenerated"] += 1


def _sample(
    pipeline: StableDiffusionXLPipeline, shot: Shot, settings: Json, embeddings: Mapping[str, Embedding], ctx: StageContext
) -> np.ndarray:
    """RGB [H, W, 3] from 0 to 1."""

    def stop_if_asked(pipe: StableDiffusionXLPipeline, step: int, timestep: int, arguments: dict[str, Any]) -> dict[str, Any]:
        ctx.check()
        ctx.progress.advance()
        return arguments

    hidden, pooled = (row[None].to(pipeline.unet.device, pipeline.unet.dtype) for row in embeddings[shot.prompt])
    negative_hidden, negative_pooled = (row[None].to(pipeline.unet.device, pipeline.unet.dtype) for row in embeddings[shot.negative_prompt])
    result = pipeline(
        prompt_embeds=hidden,
        pooled_prompt_embeds=pooled,
        negative_prompt_embeds=negative_hidden,
        negative_pooled_prompt_embeds=negative_pooled,
        width=shot.width,
        height=shot.height,
        num_inference_steps=settings["steps"],
        guidance_scale=settings["guidance"],
        guidance_rescale=settings["guidanceRescale"],
        generator=torch.Generator("cpu").manual_seed(shot.seed),  # on the CPU as users' tools do: one seed is one image on every device
        output_type="latent",
        callback_on_step_end=stop_if_asked,
    )
    return decode(pipeline.vae, result.images)


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor) -> np.ndarray:
    """RGB [H, W, 3] from 0 to 1 of one scaled latent [1, 4, h, w], by the autoencoder's own precision."""
    pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample[0].float().permute(1, 2, 0)
    decoded: np.ndarray = (pixels / 2 + 0.5).clamp(0, 1).cpu().numpy()
    return decoded


def png(pixels: np.ndarray, what: str) -> bytes:
    """A picture as PNG from RGB [H, W, 3] of 0 to 1. Raises KubeTunerError that says `what` is not finite."""
    if not np.isfinite(pixels).all():
        raise KubeTunerError(f"{what} is not finite; set train.mixedPrecision: fp32")
    data = io.BytesIO()
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(data, "PNG")
    return data.getvalue()
