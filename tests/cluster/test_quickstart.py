"""The quickstart as the pages tell it: examples/cluster.yaml by kubectl, with the bytes of examples/quickstart.yaml on a laptop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.door import Door
from tests.cluster.release import TEAM
from tests.cluster.scene import LORA, Scene

ROOT = Path(__file__).parents[2]
MATERIAL = ROOT / "build" / "quickstart"
NAME = "photographs"


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `kubetuner run` makes, with as many threads as a pod has."""
    folder = tmp_path_factory.mktemp("laptop")
    command = [
        sys.executable,
        "-m",
        "kubetuner.cli.main",
        "run",
        "examples/quickstart.yaml",
        "--store",
        folder / "store",
        "--out",
        folder / "out",
    ]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "services"}
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "out"


def test_quickstart_gives_the_files_of_a_laptop(door: Door, scene: Scene, laptop: Path, tmp_path: Path) -> None:
    door.admit("newcomer")
    for name, target in ((NAME, "datasets"), ("heldout", "datasets"), ("tiny-sdxl", "models")):
        door.kubetuner("newcomer", "push", MATERIAL / name, f"{target}/quickstart-{name}")
    text = (ROOT / "examples" / "cluster.yaml").read_text()
    for kind in ("datasets", "models"):  # other tests have a model of the same name
        text = text.replace(f"store:{kind}/", f"store:{kind}/quickstart-")
    (tmp_path / "cluster.yaml").write_text(text)
    scene.kubectl("--namespace", TEAM, "apply", "-f", tmp_path / "cluster.yaml")
    scene.until(NAME, "Succeeded", seconds=900)
    door.kubetuner("newcomer", "outputs", NAME, "-o", tmp_path / "out")
    assert (tmp_path / "out" / LORA).read_bytes() == (laptop / LORA).read_bytes()
    files = {str(path.relative_to(laptop)) for path in laptop.rglob("*") if path.is_file()}
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()} == files
