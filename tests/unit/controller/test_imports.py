"""What a process holds: the controller no torch and no tables, and its neighbour nothing that decodes until it is asked to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("package", ["torch", "pyarrow", "numpy", "PIL", "tokenizers"])
@pytest.mark.parametrize("program", ["kubetuner.controller.program", "kubetuner.ingest.looks"])
def test_it_starts_without(program: str, package: str) -> None:
    code = f"import sys, {program}; sys.exit({package!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_kubernetes_package_only_what_is_used_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig.json"
    names = {"name": "a", "context": {"cluster": "a", "user": "a"}}
    clusters = [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}]
    file.write_text(
        json.dumps({"current-context": "a", "contexts": [names], "clusters": clusters, "users": [{"name": "a", "user": {"token": "x"}}]})
    )
    code = """
import asyncio, sys
from kubetuner.controller.cluster import connect
async def main():
    await (await connect(sys.argv[1])).close()
asyncio.run(main())
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"kubernetes", "requests", "oauthlib", "websocket", "urllib3"}))
"""
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["kubernetes"]
