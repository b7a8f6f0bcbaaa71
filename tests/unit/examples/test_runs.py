"""Every run file among the examples is valid, and shows what it is for; the pictures that scripts make come out as their captions say."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from kubetuner.cli.main import main
from kubetuner.spec.load import load_run
from kubetuner.spec.resolve import resolve
from tests import builders

EXAMPLES = Path(__file__).parents[3] / "examples"
DRAWINGS = EXAMPLES / "quickstart" / "line-drawings"
RUNS = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.yaml"))


def script(path: Path) -> ModuleType:
    """A script that is run by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", RUNS)
def test_it_is_valid(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(EXAMPLES / name)]) == 0
    assert capsys.readouterr().out.endswith("valid\n")


def test_the_quickstart_uses_all_of_its_drawings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json", str(EXAMPLES / "quickstart.yaml")]) == 0
    found = json.loads(capsys.readouterr().out)
    counts = {kind: len(list((DRAWINGS / kind).glob("*.png"))) for kind in ("train", "heldout")}
    assert 60 <= counts["train"] <= 120
    assert len(found["images"]) == sum(counts.values())
    assert all(row["used"] for row in found["images"])
    assert found["problems"] == []


def test_line_drawings_are_grey_and_small_and_none_is_held_out_that_is_trained_on() -> None:
    captions: dict[str, set[str]] = {}
    for kind in ("train", "heldout"):
        for path in sorted((DRAWINGS / kind).glob("*.png")):
            with Image.open(path) as picture:
                assert (picture.mode, picture.size) == ("L", (64, 64))
            assert path.stat().st_size < 3000
            captions.setdefault(kind, set()).update(path.with_suffix(".txt").read_text("utf-8").split("\n"))
    assert captions["train"] & captions["heldout"] == {""}


def test_the_readme_s_picture_has_a_column_for_each_thing(tmp_path: Path) -> None:
    colours = {"base": (200, 40, 30), "tuned": (128, 128, 128), "true": (0, 0, 0)}
    rows = [
        {"prompt": f"a lineart emoji of {thing}", **{which: f"{which}.png" for which in colours}}
        for thing in ("a fox", "an owl", "scissors")
    ]
    (tmp_path / "report.json").write_text(json.dumps({"images": [{"prompt": "a cat", "base": "", "tuned": ""}, *rows]}))
    for which, colour in colours.items():
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{which}.png")
    picture = script(EXAMPLES / "quickstart" / "picture.py")
    sheet = picture.compose(tmp_path, ["owl", "scissors"])
    assert sheet.size == (picture.LEFT + 2 * (picture.EDGE + picture.GAP), picture.TOP + 3 * (picture.EDGE + picture.GAP))
    middles = [picture.TOP + row * (picture.EDGE + picture.GAP) + picture.EDGE // 2 for row in range(3)]
    assert [sheet.getpixel((picture.LEFT + picture.EDGE // 2, middle)) for middle in middles] == list(colours.values())


def test_blueprints_are_white_on_blue(tmp_path: Path) -> None:
    blueprints = script(EXAMPLES / "full" / "blueprints.py")
    assert blueprints.write(DRAWINGS, tmp_path) == len(list(DRAWINGS.rglob("*.png")))
    made = sorted(tmp_path.rglob("*.png"))
    pixels = np.asarray(Image.open(made[0]).convert("RGB"))
    assert tuple(np.median(pixels.reshape(-1, 3), axis=0)) == blueprints.PAPER
    assert all("blueprint" in path.with_suffix(".txt").read_text("utf-8") for path in made)
    first = {path: path.read_bytes() for path in made}
    blueprints.write(DRAWINGS, tmp_path)
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*.png"))} == first


def test_a_full_training_uses_every_blueprint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script(EXAMPLES / "full" / "blueprints.py").write(DRAWINGS, tmp_path)
    places = [f"datasets[{number}].source.uri={tmp_path / kind}" for number, kind in enumerate(("train", "heldout"))]
    assert main(["inspect", "--json", "--set", places[0], "--set", places[1], str(EXAMPLES / "full" / "run.yaml")]) == 0
    assert all(row["used"] for row in json.loads(capsys.readouterr().out)["images"])


def test_the_real_sdxl_is_trained_at_its_own_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(EXAMPLES / "sdxl" / "run.yaml", tmp_path)
    builders.photographs(tmp_path / "photographs", [(800, 600), (1200, 900), (2000, 1400), (700, 700), (100, 100)])
    builders.photographs(tmp_path / "heldout", [(800, 800)])
    assert main(["inspect", "--json", str(tmp_path / "run.yaml")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["dataset"], row["reason"]) for row in found["images"] if not row["used"]] == [("photographs", "too_small")]
    assert [tuple(row["target"]) for row in found["images"] if row["used"]] == [(1024, 1024)] * 5


def test_the_real_sdxl_has_the_settings_of_simpletuner_s_quickstart() -> None:
    spec = resolve(load_run(EXAMPLES / "sdxl" / "run.yaml")).spec
    train = spec.train
    assert (spec.model.flavour, train.type, train.lora.rank, train.optimizer.type) == ("base-1.0", "lora", 16, "adamw_bf16")
    assert (train.optimizer.learning_rate, train.schedule.type, train.batch_size) == (1e-4, "constant_with_warmup", 4)
    assert (train.mixed_precision, train.gradient_checkpointing, train.caption_dropout_probability) == ("bf16", True, 0.1)
    assert list(spec.evaluate.resolutions) == ["1024x1024", "1280x768"]
