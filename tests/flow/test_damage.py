"""Damage in the store through whole runs: one line that names the object and the cure, and the cure brings the same bytes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubetuner import local
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.errors import ArtifactError
from kubetuner.flow import STAGES
from kubetuner.storage import ObjectStore
from kubetuner.storage.memory import MemoryStore
from tests.builders import photographs
from tests.flow.flows import a_run

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
        found = re.search(r"; run `kubetuner store rm --force (\S+)` on this store, then run again$", told[-1])
        assert found, told
        for info in list(store.list(f"{found[1]}/")):
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
        (r"checkpoint/[0-9a-f]+-000000001/", EVALUATION, "goes on from what is left", 0),
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
