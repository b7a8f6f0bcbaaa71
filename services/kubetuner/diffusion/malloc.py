"""Memory of a run on a CPU, on a laptop and in a pod: blocks that tensors leave are kept and used again.

glibc gives large blocks back to the kernel and takes them anew, page fault by page fault; measured, that is half the time of an
autoencoder on a CPU. The settings are those of MALLOC_MMAP_THRESHOLD_ and its kin, made from within, so that no new process is needed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_MAX: Final = -4
_ALWAYS: Final = 2**31 - 1
_STEP: Final = 256 * 1024 * 1024


def keep_freed_memory(device: str) -> None:
    """Tell glibc, where it is glibc and the run computes on the CPU."""
    on_gpu = device == "cuda" or (device == "auto" and os.path.exists("/dev/nvidiactl"))
    if on_gpu or not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _ALWAYS)
    library.mallopt(_TOP_PAD, _STEP)
