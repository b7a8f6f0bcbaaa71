"""Bare loops in plain torch, diffusers and PEFT, as one would write them by hand: what KubeTuner is measured against.

Letters of shapes: B pictures, H x W pixels, C = 4 latent channels, h = H/8, w = W/8, T = 77 tokens, D text channels, P pooled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

TARGETS: Final = ("to_k", "to_q", "to_v", "to_out.0")

Tensors = dict[str, torch.Tensor]
"""A batch: clean [B, C, h, w], noise [B, C, h, w], timesteps [B], hidden [B, T, D], pooled [B, P], time_ids [B, 6]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What both loops train with."""

    rank: int = 16
    alpha: float = 16.0
    learning_rate: float = 1e-4
    weight_decay: float = 1e-2
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False
    dtype: torch.dtype = torch.float32
    device: torch.device


class Training:
    """A LoRA on the U-Net of a model, and its optimizer."""

    def __init__(self, model: Path, settings: Settings) -> None:
        from diffusers import DDPMScheduler, UNet2DConditionModel
        from peft import LoraConfig

        self.settings = settings
        unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=settings.dtype).to(settings.device)
        self.unet = unet.requires_grad_(False).train()
        if settings.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        self.unet.add_adapter(LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=list(TARGETS)))
        self.weights = [weight for weight in self.unet.parameters() if weight.requires_grad]
        for weight in self.weights:
            weight.data = weight.data.float()
        self.optimizer = torch.optim.AdamW(
            self.weights,
            lr=settings.learning_rate,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=settings.device.type == "cuda",
        )
        self.scheduler = DDPMScheduler.from_pretrained(model / "scheduler")
        self.forward: Callable[..., Any] = self.unet

    def step(self, batch: Tensors) -> torch.Tensor:
        """One step; gives its loss, still on the device."""
        batch = {name: tensor.to(self.settings.device, non_blocking=True) for name, tensor in batch.items()}
        noisy = self.scheduler.add_noise(batch["clean"], batch["noise"], batch["timesteps"])
        dtype = self.settings.dtype
        with torch.autocast(self.settings.device.type, dtype=dtype, enabled=dtype != torch.float32):
            prediction = self.forward(
                noisy.to(dtype),
                batch["timesteps"],
                encoder_hidden_states=batch["hidden"].to(dtype),
                added_cond_kwargs={"text_embeds": batch["pooled"].to(dtype), "time_ids": batch["time_ids"]},
                return_dict=False,
            )[0]
        loss = torch.nn.functional.mse_loss(prediction.float(), batch["noise"].float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()


def noise(training: Training, count: int, side: int) -> Tensors:
    """A batch of noise of the shapes that the U-Net takes for pictures of side x side."""
    config, device = training.unet.config, training.settings.device
    generator = torch.Generator().manual_seed(0)
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    batch = {
        "clean": torch.randn(count, 4, side // 8, side // 8, generator=generator),
        "noise": torch.randn(count, 4, side // 8, side // 8, generator=generator),
        "timesteps": torch.randint(0, 1000, (count,), generator=generator),
        "hidden": torch.randn(count, 77, config.cross_attention_dim, generator=generator),
        "pooled": torch.randn(count, pooled, generator=generator),
        "time_ids": torch.tensor([[side, side, 0, 0, side, side]] * count, dtype=torch.float32),
    }
    return {name: tensor.to(device) for name, tensor in batch.items()}


def loop(training: Training, batches: Sequence[Tensors], *, warm: int) -> tuple[float, list[float]]:
    """Seconds of all steps after the first `warm`, and the losses of all."""
    losses = []
    begin = 0.0
    for number, batch in enumerate(batches):
        if number == warm:
            wait(training.settings.device)
            begin = time.perf_counter()
        losses.append(training.step(batch))
    wait(training.settings.device)
    return time.perf_counter() - begin, [float(loss) for loss in losses]


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Encoders:
    """The frozen parts of a model, for a loop that encodes in its steps."""

    def __init__(self, model: Path, device: torch.device, dtype: torch.dtype) -> None:
        from diffusers import AutoencoderKL
        from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

        self.device = device
        self.vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=dtype).to(device).requires_grad_(False).eval()
        self.tokenizers = [CLIPTokenizer.from_pretrained(str(model / name)) for name in ("tokenizer", "tokenizer_2")]
        first = CLIPTextModel.from_pretrained(str(model / "text_encoder"), dtype=dtype)
        second = CLIPTextModelWithProjection.from_pretrained(str(model / "text_encoder_2"), dtype=dtype)
        self.texts = [encoder.to(device).requires_grad_(False).eval() for encoder in (first, second)]

    @torch.no_grad()
    def text(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states [B, T, D] and pooled output [B, P]."""
        hidden = []
        for tokenizer, encoder in zip(self.tokenizers, self.texts, strict=True):
            tokens = tokenizer(list(captions), padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            output = encoder(tokens.to(self.device), output_hidden_states=True)
            hidden.append(output.hidden_states[-2])
        return torch.cat(hidden, dim=-1), output.text_embeds

    @torch.no_grad()
    def latents(self, pictures: Sequence[np.ndarray]) -> Any:
        """The autoencoder's distribution over latents of pictures [H, W, 3], all of one size."""
        pixels = torch.from_numpy(np.stack(pictures)).to(self.device).permute(0, 3, 1, 2)
        return self.vae.encode(pixels.to(self.vae.dtype) / 127.5 - 1.0).latent_dist


def decode(path: Path, side: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """A picture as a centred square [side, side, 3], and its six micro-conditions."""
    from PIL import Image

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    original = (image.height, image.width)
    scale = side / min(image.size)
    image = image.resize((max(side, round(image.width * scale)), max(side, round(image.height * scale))), Image.Resampling.LANCZOS)
    top, left = (image.height - side) // 2, (image.width - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side))), (*original, top, left, side, side)


def encoding_batches(paths: Sequence[Path], encoders: Encoders, *, side: int, batch_size: int, steps: int) -> Iterator[Tensors]:
    """Batches made as diffusers' text-to-image example for SDXL LoRAs makes them: decoded and encoded when their step comes."""
    generator = torch.Generator().manual_seed(0)
    order = list(_endless(len(paths), generator, batch_size * steps))
    for step in range(steps):
        chosen = [paths[index] for index in order[step * batch_size : (step + 1) * batch_size]]
        pictures = [decode(path, side) for path in chosen]
        clean = encoders.latents([picture for picture, _ in pictures]).sample() * encoders.vae.config.scaling_factor
        hidden, pooled = encoders.text([path.stem.replace("_", " ") for path in chosen])
        yield {
            "clean": clean.float(),
            "noise": torch.randn(clean.shape, generator=generator),
            "timesteps": torch.randint(0, 1000, (batch_size,), generator=generator),
            "hidden": hidden,
            "pooled": pooled,
            "time_ids": torch.tensor([ids for _, ids in pictures], dtype=torch.float32),
        }


def _endless(count: int, generator: torch.Generator, length: int) -> Iterable[int]:
    while length > 0:
        yield from torch.randperm(count, generator=generator)[:length].tolist()
        length -= count
