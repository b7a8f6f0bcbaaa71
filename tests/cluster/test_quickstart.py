"""The quickstart on a cluster, by the steps of README, gives byte for byte the files that `make quickstart` gave on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.door import Door
from tests.cluster.object_store import BUCKET
from tests.cluster.release import TEAM, Release
from tests.cluster.scene import STAGES, Scene

ROOT: Final = Path(__file__).parents[2]
OUT: Final = ROOT / "build" / "quickstart" / "out"
NAME: Final = "line-drawings"
# Given to RunService, and straight to the store.
BY_SERVICE: Final = {"datasets/line-drawings": "quickstart/line-drawings/train", "models/mini-sdxl/model": "mini-sdxl/model"}
STRAIGHT: Final = {"datasets/heldout": "quickstart/line-drawings/heldout"}
ELSEWHERE: Final = {
    rb"store:model/[0-9a-f]{40}": b"mini-sdxl/model",
    rb"store:(datasets|models)/|quickstart/line-drawings/(?=heldout)": b"",
    rb"quickstart/line-drawings/train": b"line-drawings",
    rb"  namespace: team\n": b"",
    rb'python(": "| )3\.\d+\.\d+': b"python",  # an image has another patch of it than this machine
}


@pytest.fixture(scope="module")
def as_many_threads(release: Release) -> Iterator[None]:
    """The chart, with as many threads in its pods as torch takes here."""
    ask = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
    ambient = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    release.install(threads=int(subprocess.run(ask, env=ambient, capture_output=True, text=True, check=True).stdout))
    yield
    release.install()


@pytest.mark.usefixtures("as_many_threads")
def test_quickstart_gives_the_files_of_a_laptop(door: Door, scene: Scene, tmp_path: Path) -> None:
    assert (OUT / "result.json").exists(), "first: make quickstart"
    scene.forget(NAME)  # of an earlier session on the same cluster
    door.admit("newcomer")
    for name, folder in BY_SERVICE.items():
        door.kubetuner("newcomer", "push", ROOT / "examples" / folder, name)
    straight = f"s3://{BUCKET}"
    for name, folder in STRAIGHT.items():
        _kubetuner("push", ROOT / "examples" / folder, name, "--store", straight, environment=scene.store.environment)

    scene.kubectl("--namespace", TEAM, "apply", "-f", ROOT / "examples" / "cluster.yaml")
    scene.until(NAME, "Succeeded", seconds=3600)
    assert list(scene.jobs(NAME)) == [f"{NAME}-{stage}-1" for stage in STAGES]

    door.kubetuner("newcomer", "outputs", NAME, "-o", tmp_path / "grpc")
    _kubetuner("outputs", NAME, "--store", straight, "-o", tmp_path / "s3", environment=scene.store.environment)
    assert all(json.loads((tmp_path / "grpc" / "result.json").read_text())["work"].values()), "nothing was there before"
    wanted = _comparable(OUT)
    for way in ("grpc", "s3"):
        found = _comparable(tmp_path / way)
        assert found.keys() == wanted.keys()
        assert not [name for name, data in wanted.items() if found[name] != data]


def _comparable(out: Path) -> dict[str, bytes]:
    """The files of a run without where it was, by which Python, how long it took, and how much of it earlier runs had done."""
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    for name in ("run.resolved.yaml", "report/index.html", "report/report.json"):
        for pattern, same in ELSEWHERE.items():
            files[name] = re.sub(pattern, same, files[name])
    result = json.loads(files["result.json"])
    del result["seconds"], result["work"]
    files["result.json"] = json.dumps(result).encode()
    return files


def _kubetuner(*arguments: str | Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "kubetuner.cli.main", *map(str, arguments)]
    settings = {**os.environ, "PYTHONPATH": "services", **environment}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
