"""Every process that computes on a CPU keeps its freed memory: on a laptop, and in a pod of each stage with torch."""

from __future__ import annotations

import ast
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import kubetuner

ROOT = Path(kubetuner.__file__).parent
_RESIDENT = """
import sys
from kubetuner.diffusion.malloc import keep_freed_memory
keep_freed_memory(sys.argv[1])
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) >> 10
before = resident()
block = bytearray(b"x") * (64 << 20)
del block
print(resident() - before)
"""


def kept(device: str) -> int:
    """MiB that a process still has after it gave up a block of 64."""
    command = [sys.executable, "-c", _RESIDENT, device]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT.parent)}).stdout)


@pytest.mark.parametrize(("device", "least", "most"), [("cpu", 60, 80), ("cuda", -8, 8)])
def test_on_a_cpu_freed_memory_is_kept(device: str, least: int, most: int) -> None:
    assert platform.libc_ver()[0] != "glibc" or least <= kept(device) <= most


@pytest.mark.parametrize("file", ["cli/verbs.py", "embed/__main__.py", "train/__main__.py", "evaluate/__main__.py"])
def test_it_is_asked_for_wherever_tensors_are(file: str) -> None:
    calls = [node.func for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.Call)]
    names = {one.attr if isinstance(one, ast.Attribute) else one.id for one in calls if isinstance(one, ast.Attribute | ast.Name)}
    assert "keep_freed_memory" in names
