"""The autoencoder of the mini SDXL: SDXL's structure, 8 x down to 4 channels, trained from nothing on emoji in colour and in line.

Loss: L1 at three scales and of the gradients, which keeps strokes crisp, and a little KL, which keeps neighbours among the latents alike.
Saves its state every five minutes and goes on from it.

    python examples/mini-sdxl/vae.py --out build/mini-sdxl/vae
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from emoji import catalogue, colour, inked, line, small
from PIL import Image
from torch.nn import functional

BATCH = 16
SOURCE = 128  # pixels of the pictures that augmented ones are taken from: twice of what the model sees
SCALING = 0.13025  # SDXL's own: latents times this have unit deviation
KL_WEIGHT = 3e-4
SAVE_SECONDS = 300.0
_OPPONENT = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [2.0, -2.0, 0.0], [-1.0, -1.0, 2.0]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of the training, over which the learning rate falls from `rate` to a fiftieth of it."""

    steps: int
    rate: float
    reach: float
    """How far pictures are moved and made smaller or larger; with 1 half of them are mirrored too."""
    colours: bool = True
    """Whether the loss asks for the rarer colours."""
    encoder: bool = True
    """Whether the encoder is trained, or left as it is."""


PARTS = (
    Part(steps=2100, rate=1.2e-3, reach=1.0, colours=False),  # shapes
    Part(steps=1000, rate=1.2e-3, reach=0.4),  # colours
    Part(steps=800, rate=6e-4, reach=0.25, encoder=False),  # what the decoder can still make of the same latents
)


def make() -> AutoencoderKL:
    """The untrained autoencoder, 1.9 M weights."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 48, 64, 96),
        layers_per_block=1,
        act_fn="silu",
        latent_channels=4,
        norm_num_groups=16,
        sample_size=64,
        scaling_factor=SCALING,
        force_upcast=False,
    )


def sources() -> tuple[torch.Tensor, torch.Tensor]:
    """Colour and line pictures of all emoji, [N, 3, 128, 128] each, in [0, 1]."""
    colours = [np.asarray(colour(emoji.character).resize((SOURCE, SOURCE), Image.Resampling.LANCZOS)) for emoji in catalogue()]
    lines = [np.asarray(line(emoji.character).resize((SOURCE, SOURCE), Image.Resampling.LANCZOS).convert("RGB")) for emoji in catalogue()]
    both = [torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255 for pictures in (colours, lines)]
    return both[0], both[1]


def as_drawn() -> torch.Tensor:
    """All emoji exactly as the datasets hold them, colour first, then line, [2N, 3, 64, 64] in [-1, 1]."""
    pictures = [small(colour(emoji.character)) for emoji in catalogue()]
    pictures += [inked(small(line(emoji.character))).convert("RGB") for emoji in catalogue()]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).float() / 127.5 - 1


def draw_batch(colours_NCHW: torch.Tensor, lines_NCHW: torch.Tensor, generator: torch.Generator, *, reach: float) -> torch.Tensor:
    """Ten colour and six line pictures, each made smaller and moved, with `reach` 1 some mirrored, [16, 3, 64, 64] in [-1, 1]."""
    num_lines = 6
    colour_rows = torch.randint(len(colours_NCHW), (BATCH - num_lines,), generator=generator)
    line_rows = torch.randint(len(lines_NCHW), (num_lines,), generator=generator)
    pictures = 1 - torch.cat([colours_NCHW[colour_rows], lines_NCHW[line_rows]])  # white is 0, so that what lies outside is white
    zoom = 1 / (1.02 + reach * (0.08 - 0.3 * torch.rand(BATCH, generator=generator)))
    mirror = 1 - 2 * (torch.rand(BATCH, generator=generator) > 1.5 - reach)
    shift = (torch.rand(BATCH, 2, generator=generator) - 0.5) * 0.24 * reach
    affine = torch.zeros(BATCH, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1], affine[:, :, 2] = zoom * mirror, zoom, shift
    grid = functional.affine_grid(affine, [BATCH, 3, SOURCE, SOURCE], align_corners=False)
    moved = functional.avg_pool2d(functional.grid_sample(pictures, grid, align_corners=False), 2)
    moved[-num_lines:] = (moved[-num_lines:] * 1.8).clamp(max=1)  # as `inked` does
    return 1 - 2 * moved


def distance(got_BCHW: torch.Tensor, want_BCHW: torch.Tensor, *, colours: bool) -> torch.Tensor:
    """L1 at full, half and quarter size, of grey, of the two differences of colours (doubled: else shapes are learnt long before colours),
    and of the differences between neighbouring pixels.
    """
    error = torch.einsum("oc,bchw->bohw", _OPPONENT, got_BCHW - want_BCHW)
    loss = torch.zeros(())
    if colours:  # L1 is content with the one axis of colour that most pictures have: the rare others are far off, which squares tell
        coarse = functional.avg_pool2d(error[:, 1:], 4)
        loss = coarse.square().mean() + functional.avg_pool2d(coarse, 2).square().mean()
    for scale in range(3):
        if scale:
            error = functional.avg_pool2d(error, 2)
        loss = loss + error.abs().mean() + 0.5 * (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean())
    return loss


def place(step: int) -> tuple[Part, int]:
    """The part that a step belongs to, and how many steps of it lie before."""
    for part in PARTS:
        if step < part.steps:
            return part, step
        step -= part.steps
    raise AssertionError("a step after the last")


def train(out: Path, *, seed: int = 0) -> AutoencoderKL:
    """Train, or go on with training, and return the weights."""
    torch.manual_seed(seed)
    vae = make().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=1e-3)
    generator = torch.Generator().manual_seed(seed)
    first, state = 0, out.with_suffix(".state.pt")
    if state.exists():
        saved = torch.load(state)
        vae.load_state_dict(saved["weights"])
        optimizer.load_state_dict(saved["optimizer"])
        generator.set_state(saved["generator"])
        first = saved["step"]
    colours, lines = sources()
    began = saved_at = time.monotonic()
    for step in range(first, sum(part.steps for part in PARTS)):
        part, done = place(step)
        if not part.encoder:
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        for group in optimizer.param_groups:
            group["lr"] = part.rate * min(1, (done + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * done / part.steps)))
        want = draw_batch(colours, lines, generator, reach=part.reach)
        with torch.set_grad_enabled(part.encoder):
            posterior = vae.encode(want).latent_dist
        reconstruction = distance(vae.decode(posterior.sample(generator=generator)).sample, want, colours=part.colours)
        loss = reconstruction + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 24:
            pace = (time.monotonic() - began) / (step + 1 - first)
            spread = f"sigma {posterior.std.mean():.3f} of {posterior.mean.std():.2f}"
            print(f"step {step + 1} loss {reconstruction.item():.4f} {spread} {pace:.2f} s/step", flush=True)
        if time.monotonic() - saved_at > SAVE_SECONDS or done + 1 == part.steps:
            saved_at = time.monotonic()
            state.parent.mkdir(parents=True, exist_ok=True)
            rest = {"optimizer": optimizer.state_dict(), "generator": generator.get_state(), "step": step + 1}
            torch.save({"weights": vae.state_dict(), **rest}, state)
    return vae


@torch.no_grad()
def normalise(vae: AutoencoderKL) -> None:
    """Give each channel of colour pictures' latents the mean 0 and the deviation 1 / SCALING, by the two 1 x 1 convolutions about them.

    What is decoded stays the same.
    """
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in as_drawn()[: len(catalogue())].split(64)])
    mean, factor = latents.mean(dim=(0, 2, 3)), 1 / (SCALING * latents.std(dim=(0, 2, 3)))
    into, out_of = vae.quant_conv, vae.post_quant_conv
    into.bias[:4] -= mean
    into.bias[:4] *= factor
    into.weight[:4] *= factor[:, None, None, None]
    into.bias[4:] += 2 * factor.log()  # log variances
    out_of.bias += out_of.weight[:, :, 0, 0] @ mean
    out_of.weight /= factor[None, :, None, None]


@torch.no_grad()
def measure(vae: AutoencoderKL) -> dict[str, float]:
    """Deviation of colour pictures' latents times the scaling factor, and the PSNR of what is decoded, in dB, for both styles."""
    latents, errors = [], []
    for want in as_drawn().split(64):
        latents.append(vae.encode(want).latent_dist.mean)
        errors.append((vae.decode(latents[-1]).sample.clamp(-1, 1) - want).square().mean(dim=(1, 2, 3)))
    num_colour = len(catalogue())
    colours, lines = torch.cat(errors).split(num_colour)
    deviation = torch.cat(latents)[:num_colour].std().item() * SCALING
    psnr = [10 * math.log10(4 / part.mean().item()) for part in (colours, lines)]
    return {"scaledDeviation": deviation, "colourPsnr": psnr[0], "linePsnr": psnr[1]}


def main() -> None:
    """Train and write the autoencoder with its scaling factor, in diffusers' layout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the autoencoder")
    arguments = parser.parse_args()
    began = time.monotonic()
    vae = train(arguments.out)
    normalise(vae)
    figures = measure(vae) | {"steps": sum(part.steps for part in PARTS), "secondsOfThisRun": time.monotonic() - began}
    vae.save_pretrained(arguments.out)
    (arguments.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(figures)


if __name__ == "__main__":
    main()
