"""The dry run's document and its table."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kubetuner.ingest.core.inspect_text import inspect_text
from tests import builders
from tests.unit.ingest.bench import Bench


def codes(report: dict) -> dict[str, str]:
    return {problem["code"]: problem["level"] for problem in report["problems"]}


def test_document_has_the_keys_that_outside_checks_read(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64), (3, 3)])
    report = json.loads(json.dumps(bench.inspect(minimumImageSize=32)))
    assert {"images", "buckets", "captions", "batches", "stepsPerEpoch", "problems"} <= report.keys()
    assert report["images"][1] | {"detail": ""} == {
        "uri": "photographs/a_red_picture_000.png",
        "dataset": "photographs",
        "used": True,
        "reason": "",
        "detail": "",
        "width": 64,
        "height": 64,
        "resized": [64, 64],
        "crop": [0, 0],
        "target": [64, 64],
        "bucket": "1.0",
        "captions": ["a red picture 000"],
    }
    assert report["images"][0]["reason"] == "too_small"
    assert all(problem.keys() == {"level", "code", "message", "fix"} for problem in report["problems"])


def test_buckets_batches_and_steps_are_counted(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 5 + [(256, 64)] * 2)
    train = {"batchSize": 4, "gradientAccumulationSteps": 2, "maxSteps": 10}
    report = bench.inspect(repeats=1, resolution=128, _train=train)
    assert [(row["count"], row["samples"], row["batches"], row["enough"]) for row in report["buckets"]] == [
        (5, 10, 3, True),
        (2, 4, 1, True),
    ]
    assert (report["batches"], report["stepsPerEpoch"], report["steps"], report["epochs"]) == (4, 2, 10, 5.0)


@pytest.mark.parametrize(("remainder", "batches", "level"), [("keep", 2, "warning"), ("fill", 2, "warning"), ("drop", 1, "warning")])
def test_bucket_below_a_batch_is_told_with_the_least_repeats(bench: Bench, remainder: str, batches: int, level: str) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 4 + [(256, 64)])
    report = bench.inspect(resolution=128, _train={"batchSize": 4, "remainder": remainder})
    problem = next(problem for problem in report["problems"] if problem["code"] == "bucket_below_batch")
    assert problem["level"] == level
    assert "repeats: 3" in problem["fix"]
    assert "train.batchSize: 1" in problem["fix"]
    assert report["batches"] == batches


def test_nothing_to_train_on_is_an_error(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 3)
    assert codes(bench.inspect(_train={"batchSize": 4, "remainder": "drop"}))["no_batches"] == "error"


def test_no_usable_picture_is_told_and_no_exception(bench: Bench) -> None:
    (bench.pictures / "a.png").write_bytes(b"")
    report = bench.inspect()
    assert codes(report)["no_pictures"] == "error"
    assert (report["batches"], report["stepsPerEpoch"], report["epochs"]) == (0, 0, 0.0)
    assert "a.png" in inspect_text(report)


def test_problems_name_what_is_wrong_with_the_data(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(640, 64), (20, 20)])
    builders.picture((64, 64)).save(bench.pictures / "same.png")
    builders.picture((64, 64)).save(bench.pictures / "same too.png")
    (bench.pictures / "phone.heic").write_bytes(b"x")
    (bench.pictures / "empty.png").write_bytes(b"")
    found = codes(bench.inspect(maximumImageSize=64, targetDownsampleSize=64))
    assert {"duplicate", "format_not_read", "unreadable", "enlarged", "no_effect", "tokens_not_counted"} <= found.keys()


def test_captions_cut_at_77_tokens_are_listed(bench: Bench, tiny_sdxl: Path) -> None:
    (bench.folder / "tiny-sdxl" / "tokenizer").mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(tiny_sdxl / "tokenizer" / name, bench.folder / "tiny-sdxl" / "tokenizer")
    builders.photographs(bench.pictures, [(64, 64)] * 2)
    first, second = sorted(bench.pictures.iterdir())
    first.with_suffix(".txt").write_text("cat " * 76 + "\n" + "cat " * 75)
    second.with_suffix(".txt").write_text("cat " * 76)
    captions = bench.inspect(captionStrategy="textfile")["captions"]
    assert (captions["total"], captions["distinct"], captions["cut"], captions["longest"]) == (3, 2, 1, 78)
    assert captions["cutCaptions"][0]["tokens"] == 78


def test_run_after_inspect_decodes_nothing(bench: Bench) -> None:
    builders.photographs(bench.pictures)
    bench.inspect()
    bench.ingest()
    assert bench.context.work["imagesRead"] == 0


def test_text_shows_buckets_reasons_and_cures(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 3)
    (bench.pictures / "two\nlines\x1b[31m.png").write_bytes(b"")
    text = inspect_text(bench.inspect(_train={"batchSize": 4}))
    assert "64x64" in text
    assert "two%0Alines%1B[31m.png" in text
    assert "cure: set repeats: 1" in text


def test_inspect_imports_no_torch() -> None:
    script = "import sys, kubetuner.ingest.core.inspect; sys.exit(not {'torch', 'transformers', 'cv2'}.isdisjoint(sys.modules))"
    services = Path(__file__).parents[3] / "services"
    assert subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(services)}, check=False).returncode == 0


def test_pictures_in_a_store_are_inspected_and_nothing_is_written_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kubetuner.cli.main import main

    builders.photographs(tmp_path / "store" / "datasets" / "dog")
    before = sorted((tmp_path / "store").rglob("*"))
    document = builders.run_document({"datasets[0].source.uri": "store:datasets/dog"})
    (tmp_path / "run.yaml").write_text(json.dumps(document))
    assert main(["inspect", str(tmp_path / "run.yaml"), "--store", str(tmp_path / "store"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["images"]) == 4
    assert sorted((tmp_path / "store").rglob("*")) == before
