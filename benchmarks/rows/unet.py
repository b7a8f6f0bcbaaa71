"""The U-Net alone: what a LoRA step costs by batch size, with and without gradient checkpointing, by compiler, layout and attention.

Meant for a GPU and a U-Net of SDXL's size: `make bench ARGS="--device cuda --model full --only unet"`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks import bare
from benchmarks.bare import Settings, Tensors, Training
from benchmarks.figures import Figure
from benchmarks.material import Bench
from kubetuner.diffusion.precision import choose_device, choose_dtype

_WARM: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to compute the same."""

    name: str
    compiled: bool = False
    channels_last: bool = False
    attention: SDPBackend | None = None
    """The kernel of scaled_dot_product_attention; torch chooses without."""


VARIANTS: Final = (
    Variant(name="as it is"),
    Variant(name="flash attention", attention=SDPBackend.FLASH_ATTENTION),
    Variant(name="memory-efficient attention", attention=SDPBackend.EFFICIENT_ATTENTION),
    Variant(name="cuDNN attention", attention=SDPBackend.CUDNN_ATTENTION),
    Variant(name="plain attention", attention=SDPBackend.MATH),
    Variant(name="channels_last", channels_last=True),
    Variant(name="torch.compile", compiled=True),
    Variant(name="torch.compile, channels_last", compiled=True, channels_last=True),
)


def measure(bench: Bench) -> list[Figure]:
    """Images a second and, on a GPU, peak memory of every combination; 0 where it does not fit or is not to be had."""
    device = choose_device(bench.device)
    training = Training(bench.model, Settings(device=device, dtype=choose_dtype("auto", device)))
    figures = []
    for batch_size in bench.unet_batches:
        batch = bare.noise(training, batch_size, bench.side)
        for checkpointing in (False, True):
            for variant in VARIANTS if bench.compile else [one for one in VARIANTS if not one.compiled]:
                name = f"U-Net, batch {batch_size}{', gradient checkpointing' if checkpointing else ''}, {variant.name}"
                with _set_up(training, variant, checkpointing):
                    figures += _measured(name, training, batch, bench.steps)
    return figures


def _measured(name: str, training: Training, batch: Tensors, steps: int) -> list[Figure]:
    device = training.settings.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        times = [_timed(training, batch) for _ in range(_WARM + steps)][_WARM:]
    except torch.OutOfMemoryError:
        training.optimizer.zero_grad()
        return [Figure(what=f"{name}: out of memory", value=0, unit="images/s")]
    except RuntimeError as error:
        if not any(words in str(error) for words in ("No available kernel", "No viable backend")):
            raise
        return [Figure(what=f"{name}: not to be had on this device", value=0, unit="images/s")]
    figures = [Figure(what=name, value=len(batch["clean"]) / statistics.median(times), unit="images/s")]
    if device.type == "cuda":
        figures.append(Figure(what=f"{name}: peak memory", value=torch.cuda.max_memory_allocated(device) / 1e9, unit="GB"))
    return figures


def _timed(training: Training, batch: Tensors) -> float:
    begin = time.perf_counter()
    training.step(batch)
    bare.wait(training.settings.device)
    return time.perf_counter() - begin


@contextmanager
def _set_up(training: Training, variant: Variant, checkpointing: bool) -> Iterator[None]:
    """The training as the variant says, while entered."""
    unet = training.unet
    if checkpointing:
        unet.enable_gradient_checkpointing()
    unet.to(memory_format=torch.channels_last if variant.channels_last else torch.contiguous_format)
    training.forward = torch.compile(unet) if variant.compiled else unet
    kernel = nullcontext() if variant.attention is None else sdpa_kernel(variant.attention)
    try:
        with kernel:
            yield
    finally:
        training.forward = unet
        unet.disable_gradient_checkpointing()
