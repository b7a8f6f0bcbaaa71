"""Data parallel: any number of ranks trains the same run, up to the order of summation."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from kubetuner.storage.directory import DirectoryStore
from tests.builders import photographs, run_document
from tests.flow.flows import Place

RUN = run_document(
    train={
        "maxSteps": 8,
        "batchSize": 1,
        "gradientAccumulationSteps": 3,
        "checkpoint": {"everySteps": 3},
        "lora": {"rank": 2, "dropout": 0.2},
    }
)


def attempt(base: Path, ranks: int, stop: int = -1) -> str:
    """Train on so many ranks; the last line that the ranks print."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "tests/flow/rank.py", str(base)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(stop)], env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    (said,) = set(done.stdout.split())
    return said


@pytest.fixture(scope="module")
def places(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Place]:
    found = {}
    for name in ("one", "two", "changing"):
        base = tmp_path_factory.mktemp(name)
        photographs(base / "photographs", [(64, 64), (128, 64), (70, 90), (64, 64), (200, 200), (64, 128)])
        (base / "tiny-sdxl").symlink_to(tiny_sdxl)
        (base / "run.json").write_text(json.dumps(RUN))
        found[name] = Place(base, DirectoryStore(base / "store"))
    return found


def test_two_ranks_train_what_one_trains_and_a_change_of_ranks_goes_on(places: dict[str, Place]) -> None:
    """Same fingerprint, same order, same noise: losses agree step by step, weights up to float summation order."""
    from kubetuner.artifacts.objects import ArtifactRef

    names = {
        "one": attempt(places["one"].base, 1),
        "two": attempt(places["two"].base, 2),
    }
    assert attempt(places["changing"].base, 2, stop=3) == "interrupted"
    names["changing"] = attempt(places["changing"].base, 1)
    assert len(set(names.values())) == 1
    training = ArtifactRef(noun="checkpoint", fingerprint=names["one"])
    weights = {name: load(place.weights(training)) for name, place in places.items()}
    losses = {name: [row["loss"] for row in place.history(training)] for name, place in places.items()}
    for name in ("two", "changing"):
        assert losses[name] == pytest.approx(losses["one"], rel=1e-5)
        moved = max(float(tensor.abs().max()) for tensor in weights["one"].values())
        apart = max(float((weights[name][key] - weights["one"][key]).abs().max()) for key in weights["one"])
        assert apart <= 1e-3 * moved, f"{name}: {apart} of {moved}"
    assert torch.isfinite(torch.tensor(losses["one"])).all()
