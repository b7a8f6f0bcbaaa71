"""Bad input through whole runs: one line that names it and the cure, nothing lost, and the cure works."""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kubetuner import local
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.cli.main import main
from kubetuner.context import StageContext
from kubetuner.errors import ArtifactError, DataError, KubeTunerError, SpecError
from kubetuner.flow import STAGES
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage import ObjectStore
from kubetuner.storage.directory import DirectoryStore
from kubetuner.storage.memory import MemoryStore
from tests.builders import photographs, picture, run_document
from tests.flow.flows import Place, a_run

RUN = a_run(train={"maxSteps": 2, "checkpoint": {"everySteps": 1, "keep": 2}})


@dataclass
class Log:
    """Progress that keeps what the user was told."""

    notes: list[str]

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        pass

    def advance(self, count: int = 1, **figures: float) -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)


def stages(ctx: StageContext, until: str = "evaluate") -> ArtifactRef:
    """The flow of RUN up to a stage."""
    source: ArtifactRef | None = None
    for stage in STAGES:
        source = local._function(stage)(RUN.spec, source, ctx)
        if stage.name == until:
            break
    assert source is not None
    return source


# --- damage in the store ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder with data and model, and all objects of a finished run."""
    base = tmp_path_factory.mktemp("whole")
    photographs(base / "photographs", [(64, 64)] * 4)
    (base / "tiny-sdxl").symlink_to(tiny_sdxl)
    store = MemoryStore()
    stages(StageContext(store=store, base=base, device="cpu"))
    return base, {info.key: store.get(info.key) for info in store.list()}


def weights(objects: dict[str, bytes]) -> bytes:
    return next(content for key, content in objects.items() if key.endswith("-000000002/adapter.safetensors"))


def damaged_copy(objects: dict[str, bytes], pattern: str, how: str, without: Sequence[str]) -> tuple[MemoryStore, str]:
    """A store without some nouns, in which one object is cut short, changed or gone; and that object's key."""
    store = MemoryStore()
    for key, content in objects.items():
        if not any(re.match(name, key) for name in without):
            store.put(key, content)
    victim = next(info.key for info in store.list() if re.fullmatch(pattern, info.key))
    content = bytearray(store.get(victim))
    store.delete(victim)
    if how == "changed":
        content[len(content) // 2] ^= 1
    if how != "gone":
        store.put(victim, bytes(content[: len(content) // 2] if how == "cut" else content))
    return store, victim


def follow(store: ObjectStore, attempt: Callable[[], object]) -> list[str]:
    """Do what each error says and try again, until there is none; the errors."""
    told: list[str] = []
    while len(told) < 4:
        try:
            attempt()
        except ArtifactError as error:
            told.append(str(error))
        else:
            return told
        found = re.search(r"delete (\S+/) in the store and run again$", told[-1])
        assert found, told
        for info in list(store.list(found[1])):
            store.delete(info.key)
    raise AssertionError(told)


FINISHED = "checkpoint/[0-9a-f]+/"
REPORT = ["report/"]
EVALUATION = [*REPORT, "losses/", "images/"]
TRAINING = [*EVALUATION, "checkpoint/"]


@pytest.mark.parametrize(
    ("pattern", "how", "without", "until"),
    [
        ("facts/.*parquet", "cut", [], "ingest"),
        ("facts/.*index.json", "changed", [], "ingest"),
        ("manifest/.*parquet", "changed", ["cache/"], "embed"),
        ("manifest/.*index.json", "cut", [], "ingest"),
        ("cache/.*index.json", "changed", TRAINING, "embed"),
        ("texts/.*safetensors", "gone", TRAINING, "train"),
        ("texts/.*index.json", "changed", TRAINING, "train"),
        ("latents/.*safetensors", "changed", TRAINING, "train"),
        ("latents/.*safetensors", "cut", TRAINING, "train"),
        ("checkpoint/.*-000000002/optimizer.safetensors", "cut", [*EVALUATION, FINISHED], "train"),
        ("checkpoint/.*-000000002/adapter.safetensors", "changed", EVALUATION, "evaluate"),
        ("checkpoint/.*-000000001/index.json", "changed", EVALUATION, "evaluate"),
        (f"{FINISHED}history.json", "gone", EVALUATION, "evaluate"),
        ("losses/.*index.json", "cut", REPORT, "evaluate"),
        ("images/.*image.png", "changed", REPORT, "evaluate"),
    ],
)
def test_a_damaged_object_is_named_and_deleting_it_heals_the_store(
    whole: tuple[Path, dict[str, bytes]], pattern: str, how: str, without: list[str], until: str
) -> None:
    base, objects = whole
    store, victim = damaged_copy(objects, pattern, how, without)
    told = follow(store, lambda: stages(StageContext(store=store, base=base, device="cpu"), until))
    assert len(told) == 1
    assert told[0].startswith(victim.rpartition("/")[0])
    healed = {info.key: store.get(info.key) for info in store.list()}
    assert healed[victim] == objects[victim]
    if until in ("train", "evaluate"):
        assert weights(healed) == weights(objects)


@pytest.mark.parametrize("name", ["report.json", "images/000-base.png", "index.json"])
def test_a_damaged_report_is_made_again_without_drawing(whole: tuple[Path, dict[str, bytes]], tmp_path: Path, name: str) -> None:
    base, objects = whole
    store, _ = damaged_copy(objects, f"report/[^/]+/{name}", "changed", [])
    ctx = StageContext(store=store, base=base, device="cpu")
    assert len(follow(store, lambda: local.run(RUN, tmp_path / "out", ctx))) == 1
    assert not +ctx.work
    assert (tmp_path / "out" / "lora.safetensors").is_file()


@pytest.mark.parametrize(
    ("prefix", "without", "words", "steps"),
    [
        ("texts/", TRAINING, "what it held is encoded again", 2),
        ("latents/", TRAINING, "what it held is encoded again", 2),
        (r"checkpoint/[0-9a-f]+-000000002/", EVALUATION, "goes on from what is left", 1),
        (r"checkpoint/[0-9a-f]+-", EVALUATION, "goes on from what is left", 2),
    ],
)
def test_what_has_gone_from_the_store_is_made_again_and_the_user_is_told(
    whole: tuple[Path, dict[str, bytes]], prefix: str, without: list[str], words: str, steps: int
) -> None:
    base, objects = whole
    store = MemoryStore()
    for key, content in objects.items():
        if not any(re.match(name, key) for name in (prefix, *without)):
            store.put(key, content)
    log = Log([])
    ctx = StageContext(store=store, base=base, device="cpu", progress=log)
    stages(ctx, "train")
    assert any(words in note for note in log.notes), log.notes
    assert ctx.work["stepsTrained"] == steps
    assert weights({info.key: store.get(info.key) for info in store.list()}) == weights(objects)


# --- the command: data, store, out, model ------------------------------------------------------------------------------------------


@dataclass
class Desk:
    """A folder to run the command in."""

    base: Path
    capsys: pytest.CaptureFixture[str]

    def write(self, changes: dict[str, object] | None = None) -> None:
        (self.base / "run.yaml").write_text(yaml.safe_dump(run_document(changes)))

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
def test_what_stands_in_the_way_is_named_and_once_it_is_away_all_is_well(desk: Desk, place: str, code: int, words: str) -> None:
    obstacle = desk.base / place
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    if place.endswith("/"):
        obstacle.mkdir()
    else:
        obstacle.write_text("in the way")
    found, (line,) = desk.run()
    assert (found, words in line, str(obstacle) in line) == (code, True, True), line
    if obstacle.is_dir():
        obstacle.rmdir()
    else:
        assert obstacle.read_text() == "in the way"
        obstacle.unlink()
    assert desk.run() == (0, [])


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


@pytest.mark.parametrize(("longest", "stage"), [(500, "facts"), (20_000, "texts"), (400_000, "checkpoint")])
def test_a_full_disk_is_one_line_and_with_space_again_the_same_bytes_come(
    desk: Desk, whole: tuple[Path, dict[str, bytes]], longest: int, stage: str
) -> None:
    document = run_document(train={"maxSteps": 2, "checkpoint": {"everySteps": 1, "keep": 2}, "lora": {"rank": 16}})
    (desk.base / "run.yaml").write_text(yaml.safe_dump(document))
    with full_disk(longest):
        code, (line,) = desk.run()
    assert (code, f"/store/{stage}/" in line, "free space or choose another --store and run again" in line) == (1, True, True), line
    assert list((desk.base / "store" / ".incoming").iterdir()) == []
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


def test_the_longest_run_takes_no_memory_for_its_steps(place: Place) -> None:
    """A hundred million steps over a handful of pictures begin at once."""
    timer = threading.Timer(1.0, lambda: None)
    ctx = place.context()
    run = a_run(train={"maxSteps": 100_000_000, "schedule": {"type": "cosine", "warmupSteps": 99_999_999}})
    ctx.progress = _StopsAt(3, ctx)
    timer.cancel()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(KubeTunerError, match="interrupted"):
        place.trained(run, ctx)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB; a byte a step would already be a fifth


# --- data that changes under the run ---------------------------------------------------------------------------------------------


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
    manifest = local._function(STAGES[0])(RUN.spec, None, place.context())
    shutil.rmtree(place.base / "photographs")
    with pytest.raises(SpecError, match="is not a folder"):
        local._function(STAGES[1])(RUN.spec, manifest, place.context())


class _StopsAt:
    """Progress that asks to stop after so many steps of the training, whenever the count comes."""

    def __init__(self, steps: int, ctx: StageContext) -> None:
        self._steps, self._ctx, self._stage = steps, ctx, ""

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        if stage == "train":
            threading.Timer(1.0, self._ctx.cancelled.set).start()

    def advance(self, count: int = 1, **figures: float) -> None:
        pass

    def note(self, message: str) -> None:
        pass


def test_the_store_is_left_empty_of_halves_after_an_error(desk: Desk) -> None:
    shutil.rmtree(desk.base / "photographs")
    desk.run()
    assert list(DirectoryStore(desk.base / "store").list()) == []
