"""Two processes at once on one store: they share the work, and neither waits for a dead one."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import photographs, run_document
from tests.flow.killing import Death, Runs
from tests.minio.server import Server

PICTURES = 24
RUN = run_document(
    train={"maxSteps": 2, "lora": {"rank": 2, "targets": ["to_k"]}, "gradientCheckpointing": False},
    embed={"text": {"writeBatchSize": 2}, "vae": {"writeBatchSize": 1, "batchSize": 1}},
    evaluate={"prompts": [], "loss": {"numTimesteps": 1, "numImages": 2}},
)


@pytest.fixture(scope="module")
def base(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    photographs(folder / "photographs", [(128, 128)] * PICTURES)
    (folder / "tiny-sdxl").symlink_to(tiny_sdxl)
    (folder / "run.yaml").write_text(yaml.safe_dump(RUN))
    return folder


@pytest.fixture(scope="module", params=["directory", pytest.param("minio", marks=pytest.mark.needs("minio"))])
def two(request: pytest.FixtureRequest, base: Path) -> Iterator[tuple[list[Runs], str]]:
    """Two processes that fork runs, and where their stores lie."""
    server: Server | None = request.getfixturevalue("minio") if request.param == "minio" else None
    with ExitStack() as stack:
        runs = [Runs(base, server.environment if server else {}) for _ in range(2)]
        with ThreadPoolExecutor(2) as threads:  # they take their time to import
            list(threads.map(stack.enter_context, runs))
        yield runs, f"s3://{server.bucket()}/" if server else f"{base}/stores/"


def at_once(two: tuple[list[Runs], str], store: str, out: Path, deaths: list[Death | None]) -> list[dict[str, Any]]:
    """What became of both."""
    runs, place = two
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda number: runs[number].run(place + store, out / str(number), deaths[number]), range(2)))


def work(out: Path, number: int) -> dict[str, int]:
    found: dict[str, int] = json.loads((out / f"{number}.json").read_text())["result"]["work"]
    return found


def test_each_caption_and_picture_is_encoded_by_one_of_the_two(two: tuple[list[Runs], str], base: Path, tmp_path: Path) -> None:
    answers = at_once(two, "shared", tmp_path, [None, None])
    assert [answer["code"] for answer in answers] == [0, 0], (base / "log").read_text()[-3000:]
    both = [work(tmp_path, number) for number in range(2)]
    assert sum(one["imagesEncoded"] for one in both) == PICTURES
    assert sum(one["captionsEncoded"] for one in both) == PICTURES + 1  # and the empty one
    files = [(tmp_path / f"{number}" / "lora.safetensors").read_bytes() for number in range(2)]
    assert files[0] == files[1]


@pytest.mark.parametrize("number", [2, 9, 20])
def test_one_that_dies_does_not_hold_up_the_other(two: tuple[list[Runs], str], base: Path, tmp_path: Path, number: int) -> None:
    """Whose claims go on beating here: who did not see that their process has ended would wait for them for ever."""
    death = Death(at="puts", stage="embed", number=number)
    dead, living = at_once(two, f"dying-{number}", tmp_path, [death, None])
    assert dead["signal"] == signal.SIGKILL
    assert living["code"] == 0, (base / "log").read_text()[-3000:]
