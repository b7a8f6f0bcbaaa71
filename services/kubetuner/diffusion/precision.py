"""Which floating-point type a part of the model computes in, decided in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kubetuner.errors import KubeTunerError

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def choose_device(name: str) -> torch.device:
    """The device that a context names; `auto` is a CUDA device where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type that a precision names; `auto` is bf16 where the device computes in it, else fp32."""
    if name == "auto":
        return torch.bfloat16 if computes_bf16(device) else torch.float32
    return _TYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """`bf16`, `fp16` or `fp32`."""
    return next(name for name, known in _TYPES.items() if known == dtype)


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has bf16 matrix instructions of its own; where it has none, bf16 is emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_avx512_bf16_supported())


def cost(name: str, device: torch.device) -> str | None:
    """What a precision costs on this device in words, or None where it costs nothing unusual."""
    if name == "bf16" and not computes_bf16(device):
        return (
            f"precision bf16 is emulated on this {device.type}: expect steps 10 to 200 times slower than fp32; `auto` chooses the fast one"
        )
    if name == "fp16" and device.type == "cpu":
        return "precision fp16 is emulated on a CPU: expect steps several times slower than fp32; `auto` chooses the fast one"
    return None


@contextmanager
def memory_explained(cure: str) -> Iterator[None]:
    """Turn a device's or a CPU's lack of memory into one line that ends with the cure."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise KubeTunerError(f"out of memory: {str(error).splitlines()[0] if str(error) else 'an allocation failed'}; {cure}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # how torch's CPU allocator says it
            raise
        raise KubeTunerError(f"out of memory: {str(error).splitlines()[0]}; {cure}") from error
