"""The way of the quickstart on a cluster: a run by kubectl gives the bytes that the same run gives on a laptop.

What makes them comparable: one thread on both sides (sums come out otherwise with more), and a model whose folder has the same name, since
the LoRA's header says it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.cluster.door import Door
from tests.cluster.laptop import Laptop
from tests.cluster.object_store import BUCKET
from tests.cluster.release import TEAM
from tests.cluster.scene import STAGES, Scene

ROOT: Final = Path(__file__).parents[2]
MATERIAL: Final = ROOT / "build" / "material"
NAME: Final = "photographs"
LAPTOP: Final = {NAME: ROOT / "tests" / "material" / "photographs.yaml"}
BESIDE: Final = "material"  # other tests have data and a model of the same names
ELSEWHERE: Final = {
    rb"store:model/[0-9a-f]{40}": b"tiny-sdxl",
    rb"(store:(datasets|models)|\.\./\.\./build)/material/": b"",
    rb"  namespace: team\n": b"",
    rb'python(": "| )3\.\d+\.\d+': b"python",  # an image has another patch of it than this machine
}


def test_quickstart_gives_the_files_of_a_laptop(door: Door, scene: Scene, laptop: Laptop, tmp_path: Path) -> None:
    scene.forget(NAME)  # of an earlier session on the same cluster
    door.admit("newcomer")
    for name in (f"datasets/{NAME}", "models/tiny-sdxl"):
        kind, folder = name.split("/")
        door.kubetuner("newcomer", "push", MATERIAL / folder, f"{kind}/{BESIDE}/{folder}")
    straight = f"s3://{BUCKET}"
    _kubetuner("push", MATERIAL / "heldout", f"datasets/{BESIDE}/heldout", "--store", straight, environment=scene.store.environment)
    text = (ROOT / "tests" / "material" / "cluster.yaml").read_text()
    for kind in ("datasets", "models"):
        text = text.replace(f"store:{kind}/", f"store:{kind}/{BESIDE}/")
    (tmp_path / "cluster.yaml").write_text(text)

    scene.kubectl("--namespace", TEAM, "apply", "-f", tmp_path / "cluster.yaml")
    scene.until(NAME, "Succeeded", seconds=900)
    assert list(scene.jobs(NAME)) == [f"{NAME}-{stage}-1" for stage in STAGES]

    door.kubetuner("newcomer", "outputs", NAME, "-o", tmp_path / "grpc")
    _kubetuner("outputs", NAME, "--store", straight, "-o", tmp_path / "s3", environment=scene.store.environment)
    wanted = _comparable(laptop.out(NAME))
    for way in ("grpc", "s3"):
        found = _comparable(tmp_path / way)
        assert found.keys() == wanted.keys()
        assert not [name for name, data in wanted.items() if found[name] != data]


def _comparable(out: Path) -> dict[str, bytes]:
    """The files of a run without where it was, by which Python, and how long it took."""
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    for name in ("run.resolved.yaml", "report/index.html", "report/report.json"):
        for pattern, same in ELSEWHERE.items():
            files[name] = re.sub(pattern, same, files[name])
    result = json.loads(files["result.json"])
    del result["seconds"]
    files["result.json"] = json.dumps(result).encode()
    return files


def _kubetuner(*arguments: str | Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "kubetuner.cli.main", *map(str, arguments)]
    settings = {**os.environ, "PYTHONPATH": "services", **environment}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
