"""Bad input through whole runs: one line that names it and the cure, nothing lost, and the cure works."""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kubetuner import local
from kubetuner.cli.main import main
from kubetuner.context import StageContext
from kubetuner.errors import DataError, KubeTunerError, SpecError
from kubetuner.flow import STAGES
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage.directory import DirectoryStore
from kubetuner.storage.memory import MemoryStore
from tests.builders import photographs, picture, run_document
from tests.flow.flows import Place, a_run

QUICK: Final = {"evaluate.prompts": [], "evaluate.loss": {"numImages": 1, "numTimesteps": 1}}


@dataclass
class Desk:
    """A folder to run the command in."""

    base: Path
    capsys: pytest.CaptureFixture[str]

    def write(self, changes: dict[str, object] | None = None) -> None:
        (self.base / "run.yaml").write_text(yaml.safe_dump(run_document({**QUICK, **(changes or {})})))

    def run(self, *arguments: str, verb: str = "run") -> tuple[int, list[str]]:
        """Exit code, and the command's own lines on stderr; anything raised fails the test."""
        places = ["--store", str(self.base / "store"), "--out", str(self.base / "out"), "--device", "cpu"] if verb == "run" else []
        code = main([verb, str(self.base / "run.yaml"), *places, *arguments])
        lines = self.capsys.readouterr().err.splitlines()
        return code, [line.removeprefix("kubetuner: ") for line in lines if line.startswith("kubetuner: ")]


@pytest.fixture
def desk(tiny_sdxl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    photographs(tmp_path / "photographs", [(64, 64)] * 4)
    (tmp_path / "tiny-sdxl").symlink_to(tiny_sdxl)
    made = Desk(tmp_path, capsys)
    made.write()
    return made


def test_a_folder_of_oddities_is_trained_on_and_left_as_it_was(desk: Desk) -> None:
    folder = desk.base / "photographs"
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.jpg"))
    picture((64, 64)).save(folder / "two\nlines.png")
    before = sorted((path, path.lstat().st_mtime_ns) for path in folder.rglob("*"))
    assert desk.run() == (0, [])
    assert sorted((path, path.lstat().st_mtime_ns) for path in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "is not a folder"),
        (lambda folder: folder.write_bytes(b""), "is not a folder"),
        (lambda folder: folder.symlink_to(folder), "is not a folder"),
        (lambda folder: folder.mkdir(), "holds no pictures (nothing)"),
        (lambda folder: [folder.mkdir(), (folder / "a.md").write_text("x")], "holds no pictures (1 other files)"),
        (lambda folder: [folder.mkdir(), (folder / "a.png").write_bytes(b""), os.mkfifo(folder / "b.png")], "2 unreadable"),
    ],
    ids=["gone", "file", "loop", "empty", "other", "unusable"],
)
def test_a_source_without_pictures_is_one_line(desk: Desk, make: Callable[[Path], object], words: str) -> None:
    shutil.rmtree(desk.base / "photographs")
    make(desk.base / "photographs")
    code, (line,) = desk.run()
    assert code == 2
    assert line.startswith("spec.datasets[0].source.uri: 'photographs' ") or "pictures can be used" in line
    assert words in line


def test_two_datasets_may_share_a_folder(desk: Desk) -> None:
    dataset = run_document()["spec"]["datasets"][0]
    desk.write({"datasets": [dataset, {**dataset, "id": "again", "crop": True}]})
    assert desk.run() == (0, [])


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("out", 2, "--out: "),
        ("out/report", 1, "choose another --out"),
        ("out/diffusers", 1, "choose another --out"),
        ("out/lora.safetensors/", 1, "choose another --out"),
        ("store", 1, "choose another --store"),
        ("store/facts", 1, "choose another --store"),
        ("store/.incoming", 1, "choose another --store"),
        ("store/claims", 1, "choose another --store"),
    ],
)
def test_what_stands_in_the_way_is_named_and_stays_as_it_is(desk: Desk, place: str, code: int, words: str) -> None:
    obstacle = desk.base / place
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    if place.endswith("/"):
        obstacle.mkdir()
    else:
        obstacle.write_text("in the way")
    found, (line,) = desk.run()
    assert (found, words in line, str(obstacle) in line) == (code, True, True), line
    assert obstacle.is_dir() or obstacle.read_text() == "in the way"


def test_the_command_in_the_line_heals_a_damaged_store(desk: Desk) -> None:
    assert desk.run() == (0, [])
    exported = (desk.base / "out" / "lora.safetensors").read_bytes()
    (victim,) = (desk.base / "store").glob("latents/*/data.safetensors")
    victim.write_bytes(victim.read_bytes()[:100])
    code, (line,) = desk.run("--set", "train.maxSteps=3")
    assert (code, line.startswith("latents/")) == (1, True)
    cure = re.search("`kubetuner (.*)`", line)
    assert cure is not None
    assert main([*cure[1].split(), "--store", str(desk.base / "store")]) == 0
    assert desk.run("--set", "train.maxSteps=3") == (0, [])
    assert desk.run() == (0, [])
    assert (desk.base / "out" / "lora.safetensors").read_bytes() == exported


@pytest.mark.parametrize(("option", "value"), [("--store", ""), ("--store", "a\0b"), ("--out", "a\0b"), ("--store", "ftp://x/y")])
def test_an_address_that_is_none_is_named(desk: Desk, option: str, value: str) -> None:
    code, (line,) = desk.run(option, value)
    assert code == 2
    assert line.startswith(f"{option}: {value!r}")


@contextmanager
def full_disk(longest: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: what a write to a full disk meets, with another number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_with_space_again_the_same_bytes_come(desk: Desk) -> None:
    document = run_document({**QUICK, "train.lora": {"rank": 16}})
    (desk.base / "run.yaml").write_text(yaml.safe_dump(document))
    for longest, noun in ((500, "facts"), (20_000, "texts"), (400_000, "checkpoint")):
        with full_disk(longest):
            code, (line,) = desk.run()
        assert (code, f"/store/{noun}/" in line, "free space or choose another --store and run again" in line) == (1, True, True), line
        assert list((desk.base / "store" / ".incoming").iterdir()) == []
    with full_disk(100_000):
        code, (line,) = desk.run("--store", "memory:")
    assert (code, str(desk.base / "out" / "lora.safetensors") in line or "set TMPDIR" in line) == (1, True), line
    assert desk.run() == (0, [])
    undisturbed = StageContext(store=MemoryStore(), base=desk.base, device="cpu")
    local.run(resolve(parse_run(document)), desk.base / "again", undisturbed)
    assert (desk.base / "out" / "lora.safetensors").read_bytes() == (desk.base / "again" / "lora.safetensors").read_bytes()


def test_a_full_temporary_folder_is_one_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(desk.base / "nowhere"))
    code, (line,) = desk.run()
    assert code == 1
    assert "set TMPDIR" in line


def test_a_model_with_weights_that_are_no_numbers_is_named_instead_of_the_learning_rate(desk: Desk, tiny_sdxl: Path) -> None:
    (desk.base / "tiny-sdxl").unlink()
    shutil.copytree(tiny_sdxl, desk.base / "tiny-sdxl")
    file = desk.base / "tiny-sdxl" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.bias"] = torch.full_like(tensors["conv_in.bias"], float("nan"))
    save_file(tensors, file, metadata={"format": "pt"})
    code, (line,) = desk.run()
    assert (code, line) == (2, "model tiny-sdxl: unet has weights that are not finite (first: conv_in.bias); bring the model again")


def test_a_model_that_is_not_whole_is_told_before_any_picture_is_read(desk: Desk, tiny_sdxl: Path) -> None:
    (desk.base / "tiny-sdxl").unlink()
    shutil.copytree(tiny_sdxl, desk.base / "tiny-sdxl", ignore=shutil.ignore_patterns("unet"))
    code, (line,) = desk.run()
    assert code == 2
    assert "the part unet/ is missing" in line
    assert not (desk.base / "store").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.lora.targets": ["nope"]}, "spec.train.lora.targets[0]: 'nope' matches no module"),
        ({"train.lora.targets": ["to_q", "resnets.0"]}, "spec.train.lora.targets[1]: 'resnets.0' names a ResnetBlock2D"),
        ({"train.lora.targets": ["norm1"]}, "spec.train.lora.targets[0]: 'norm1' names a"),
        ({"train.batchSize": 4096, "train.remainder": "drop"}, "spec.train.remainder: drop leaves no batch"),
        ({"train.maxSteps": None, "train.epochs": 1_000_000, "datasets[0].repeats": 100_000}, "spec.train: the run has 200002000000 steps"),
        ({"datasets[0].captionFilters": ["("]}, "spec.datasets[0].captionFilters[0]: '(' is no valid regular expression"),
        ({"datasets[0].captionFilters": ["s/.*//"]}, "4 caption_missing"),
    ],
)
def test_values_that_do_not_fit_the_data_or_the_model_are_named(desk: Desk, changes: dict[str, object], words: str) -> None:
    desk.write(changes)
    code, (line,) = desk.run()
    assert code == 2
    assert words in line


class StopsTraining:
    """Progress that asks to stop a second after the training began."""

    def __init__(self, ctx: StageContext) -> None:
        self._ctx = ctx

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        if stage == "train":
            threading.Timer(1.0, self._ctx.cancelled.set).start()

    def advance(self, count: int = 1, **figures: float) -> None:
        pass

    def note(self, message: str) -> None:
        pass


def test_the_longest_run_takes_no_memory_for_its_steps(place: Place) -> None:
    """A hundred million steps over a handful of pictures begin at once."""
    ctx = place.context()
    run = a_run(train={"maxSteps": 100_000_000, "schedule": {"type": "cosine", "warmupSteps": 99_999_999}})
    ctx.progress = StopsTraining(ctx)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(KubeTunerError, match="interrupted"):
        place.trained(run, ctx)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB; a byte a step would already be a fifth


@pytest.mark.parametrize("mode", ["eager", "on-demand"])
@pytest.mark.parametrize("deed", ["edit", "remove", "cut", "replace by a pipe"])
def test_a_picture_that_changes_between_two_stages_is_named_and_running_again_takes_it_as_it_is(place: Place, mode: str, deed: str) -> None:
    run = a_run(train={"maxSteps": 4}, embed={"vae": {"cache": mode}})
    ctx = place.context()
    manifest = local._function(STAGES[0])(run.spec, None, ctx)
    if mode == "on-demand":
        source = local._function(STAGES[1])(run.spec, manifest, ctx)
        later = STAGES[2]
    else:
        source, later = manifest, STAGES[1]
    for path in sorted((place.base / "photographs").iterdir())[1:]:
        if deed == "edit":
            picture((64, 64), seed=99).save(path)
        elif deed == "cut":
            path.write_bytes(path.read_bytes()[:-50])
        else:
            path.unlink()
            if deed != "remove":
                os.mkfifo(path)
    with pytest.raises(DataError, match=r"picture_\d+\.png of dataset photographs has .* run again to take the data as it is now"):
        local._function(later)(run.spec, source, place.context())
    again = place.context()
    place.trained(run, again)
    assert again.work["stepsTrained"] == 4


def test_a_folder_that_goes_between_two_stages_is_named(place: Place) -> None:
    manifest = local._function(STAGES[0])(a_run().spec, None, place.context())
    shutil.rmtree(place.base / "photographs")
    with pytest.raises(SpecError, match="is not a folder"):
        local._function(STAGES[1])(a_run().spec, manifest, place.context())


def test_the_store_is_left_empty_of_halves_after_an_error(desk: Desk) -> None:
    shutil.rmtree(desk.base / "photographs")
    desk.run()
    assert list(DirectoryStore(desk.base / "store").list()) == []
