"""Killed at any moment and run again, a run ends in the bytes of one that nobody disturbed."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import photographs, run_document
from tests.flow.killing import ORDER, Death, Runs
from tests.minio.server import Server

KILLS = 100
"""On each of the two stores."""
SEED = 4
RUN = run_document(
    train={
        "maxSteps": 4,
        "gradientAccumulationSteps": 2,
        "gradientCheckpointing": False,
        "ema": {},
        "checkpoint": {"everySteps": 1, "keep": 2},
        "lora": {"rank": 2, "targets": ["to_k"]},
        "captionDropoutProbability": 0.2,
    },
    embed={"text": {"writeBatchSize": 2}, "vae": {"writeBatchSize": 2}},
    evaluate={"loss": {"numTimesteps": 1, "numImages": 2}, "datasetPrompts": 1, "contactSheet": 2, "adapterScales": [0.5, 1]},
)
RUN["spec"]["datasets"].append(RUN["spec"]["datasets"][0] | {"id": "heldout", "datasetType": "eval", "source": {"uri": "heldout"}})
"""Pictures of three sizes, two epochs, a state after every step, each of which adds up two batches; all kinds of pictures on the page."""


@pytest.fixture(scope="module")
def base(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    photographs(folder / "photographs", [(64, 64), (128, 64), (70, 90), (64, 64), (64, 128)])
    photographs(folder / "heldout", [(64, 64)])
    (folder / "tiny-sdxl").symlink_to(tiny_sdxl)
    (folder / "run.yaml").write_text(yaml.safe_dump(RUN))
    return folder


@pytest.fixture(scope="module")
def runs(base: Path) -> Iterator[Runs]:
    with Runs(base) as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(base: Path, runs: Runs) -> Path:
    """The output folder of a run on a directory; beside it, how much was counted in each stage."""
    answer = runs.run(str(base / "undisturbed-store"), base / "undisturbed")
    assert answer["code"] == 0, (base / "log").read_text()
    return base / "undisturbed"


def counts(undisturbed: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads(Path(f"{undisturbed}.json").read_text())["counts"]
    return found


def files(out: Path) -> dict[str, bytes]:
    """All that a run leaves but its times and counts of work."""
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file() and path.name != "result.json"
    }


@dataclass
class Series:
    """Runs on one store after the other, each killed some times and then left to finish, until enough were killed."""

    runs: Runs
    store_of: Any
    undisturbed: Path
    out: Path
    random: random.Random
    killed: Counter[str] = field(default_factory=Counter)

    def go(self, kills: int) -> None:
        number = 0
        while sum(self.killed.values()) < kills:
            store, out = self.store_of(number), self.out / f"{number}"
            for death in self._draw_all():
                answer = self.runs.run(store, out, death)
                assert answer["signal"] == signal.SIGKILL or answer["code"] == 0, (self.runs.base / "log").read_text()[-3000:]
                self.killed[death.stage or "by the clock"] += answer["signal"] == signal.SIGKILL
            answer = self.runs.run(store, out)
            assert answer["code"] == 0, (self.runs.base / "log").read_text()[-3000:]
            assert files(out) == files(self.undisturbed)
            number += 1

    def _draw_all(self) -> Iterator[Death]:
        """Two deaths in each stage, each at any of its moments with equal chance, and one at any time."""
        for stage in ORDER:
            for _ in range(2):
                at = self.random.choice(["units", "checks", "puts", "put"])
                most = counts(self.undisturbed)[f"{stage} {at}"]
                yield Death(at=at, stage=stage, number=self.random.randint(0, most))
        yield Death(at="seconds", number=self.random.uniform(0, 1))


@pytest.mark.parametrize("kind", ["directory", pytest.param("minio", marks=pytest.mark.needs("minio"))])
def test_killed_a_hundred_times_the_files_are_those_of_an_undisturbed_run(
    base: Path, undisturbed: Path, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    environment: dict[str, str] = {}
    if kind == "minio":
        server: Server = request.getfixturevalue("minio")
        bucket, environment = server.bucket(), server.environment
    series = [
        Series(
            runs=Runs(base, environment),
            store_of=lambda number, half=half: f"s3://{bucket}/{half}-{number}" if kind == "minio" else str(tmp_path / f"{half}-{number}"),
            undisturbed=undisturbed,
            out=tmp_path / f"out-{half}",
            random=random.Random(f"{SEED} {kind} {half}"),
        )
        for half in range(2)
    ]

    def work(one: Series) -> Counter[str]:
        with one.runs:
            one.go(KILLS // 2)
        return one.killed

    with ThreadPoolExecutor(2) as threads:
        killed = sum(threads.map(work, series), Counter())
    assert sum(killed.values()) >= KILLS
    assert min(killed[stage] for stage in ORDER) >= KILLS // 6, killed


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.7, 1.0, 1.4])
def test_a_run_that_is_asked_to_end_saves_and_goes_on(runs: Runs, undisturbed: Path, tmp_path: Path, seconds: float) -> None:
    answer = runs.run(str(tmp_path / "store"), tmp_path / "out", Death(at="seconds", number=seconds, signal=signal.SIGTERM))
    assert answer["code"] in (143, 0), (runs.base / "log").read_text()[-3000:]
    assert runs.run(str(tmp_path / "store"), tmp_path / "out")["code"] == 0
    assert files(tmp_path / "out") == files(undisturbed)
