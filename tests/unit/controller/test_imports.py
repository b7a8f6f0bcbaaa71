"""What the controller's process holds: its image has no torch, and its memory no tables of numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["torch", "pyarrow", "numpy", "PIL", "tokenizers"])
def test_the_controller_starts_without(package: str) -> None:
    code = f"import sys, kubetuner.controller.program; sys.exit({package!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
