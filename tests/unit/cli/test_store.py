"""`kubetuner store`: what it shows, removes and refuses; nothing here needs torch."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from kubetuner.artifacts import checkpoint, objects
from kubetuner.artifacts.dataset import Dataset
from kubetuner.artifacts.files import File
from kubetuner.artifacts.inventory import NOUNS, PLAIN
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.cli import main as command
from kubetuner.cli.main import main
from kubetuner.storage.directory import DirectoryStore

TRAINING = "abcdef0123456789abcdef"


@pytest.fixture
def place(tmp_path: Path) -> str:
    store = DirectoryStore(tmp_path / "store")
    cache = objects.commit(store, ArtifactRef(noun="cache", fingerprint="c0ffee"), {"shards": {}, "encoders": {}}, {})
    checkpoint.save(store, TRAINING, 2, {}, {"adapter.safetensors": b"12345"})
    steps = [{"step": 2, "fingerprint": f"{TRAINING}-000000002"}]
    checkpoint.finish(store, TRAINING, {"source": {"noun": cache.noun, "fingerprint": cache.fingerprint}, "steps": steps}, [])
    objects.commit(store, ArtifactRef(noun="images", fingerprint="0a"), {}, {"image.png": b"1"})
    store.put("images/0b/image.png", b"1")
    two_days_ago = time.time() - 48 * 3600
    for path in (tmp_path / "store").rglob("*"):
        os.utime(path, (two_days_ago, two_days_ago))
    return str(tmp_path / "store")


def output(capsys: pytest.CaptureFixture[str], place: str, *arguments: str) -> str:
    assert main(["store", *arguments, "--store", place]) == 0
    return capsys.readouterr().out


def test_the_command_knows_all_nouns() -> None:
    assert command.NOUNS == NOUNS
    assert list(command.FOLDERS) == list(PLAIN)


def test_ls_shows_what_there_is_and_whose_it_is(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, place, "ls").splitlines()
    assert [line.split()[0] for line in lines] == [
        "artifact", "checkpoint/abcdef0123456789", "checkpoint/abcdef0123456789…-000000002", "cache/c0ffee", "images"
    ]  # fmt: skip
    assert lines[1].endswith("2 d ago  complete     cache/c0ffee")
    assert lines[4].split()[-2:] == ["2", "artifacts"]
    assert [line.split()[0] for line in output(capsys, place, "ls", "images").splitlines()[1:]] == ["images/0a", "images/0b"]
    rows = json.loads(output(capsys, place, "ls", "--json"))["artifacts"]
    assert {(row["noun"], row["state"]) for row in rows} == {
        ("checkpoint", "complete"), ("cache", "complete"), ("images", "complete"), ("images", "incomplete")
    }  # fmt: skip


@pytest.mark.parametrize("ref", ["cache/c0ffee", "cache/c0"])
def test_show_tells_both_ways(place: str, capsys: pytest.CaptureFixture[str], ref: str) -> None:
    assert f"referred to by  checkpoint/{TRAINING}" in output(capsys, place, "show", ref)
    found = json.loads(output(capsys, place, "show", ref, "--json"))
    assert (found["referredToBy"], found["keys"]) == ([f"checkpoint/{TRAINING}"], ["cache/c0ffee/index.json"])
    assert found["index"]["noun"] == "cache"


def test_what_a_table_shows_names_its_artifact(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in output(capsys, place, "ls").splitlines()[1:4]:
        output(capsys, place, "show", line.split()[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "cache/dead"], "there is no such artifact"),
        (["show", "images/0"], "2 artifacts begin so"),
        (["show", "cache"], "names no artifact"),
        (["rm", "nothing/0"], "names no artifact"),
        (["rm", "cache/c0ffee"], f"checkpoint/{TRAINING} needs it"),
        (["rm", f"checkpoint/{TRAINING}-000000002"], "needs it"),
        (["gc", "--min-age-hours", "-1"], "--min-age-hours"),
        (["gc", "--min-age-hours", "nan"], "--min-age-hours"),
    ],
)
def test_what_cannot_be_done_is_said_with_exit_2(place: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    before = sorted(Path(place).rglob("*"))
    assert main(["store", *arguments, "--store", place]) == 2
    assert words in capsys.readouterr().err
    assert sorted(Path(place).rglob("*")) == before


def test_a_store_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "ls", "--store", str(tmp_path / "nowhere")]) == 2
    assert "--store" in capsys.readouterr().err


def test_rm_takes_a_training_with_its_states(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    output(capsys, place, "rm", f"checkpoint/{TRAINING[:9]}")
    assert list(Path(place).glob("checkpoint/*")) == []
    output(capsys, place, "rm", "cache/c0ffee")


def test_rm_with_force_takes_what_others_need(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    output(capsys, place, "rm", "--force", "cache/c0ffee")
    assert not Path(place, "cache").exists()


def test_datasets_and_models_are_shown_and_removed_by_name(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = DirectoryStore(Path(place))
    dog = Dataset(store, "datasets/dog")
    dog.take(File(path="a.png", size=1, sha256=hashlib.sha256(b"1").hexdigest()), b"1")
    dog.flush()
    store.put("datasets/cat/b.png", b"2")
    store.put("jobs/j/request.json", b'{"spec": {"datasets": [{"source": {"uri": "store:datasets/cat"}}]}}')
    lines = [line.split()[0] for line in output(capsys, place, "ls").splitlines()]
    assert lines[-4:] == ["datasets/cat", "datasets/dog", "jobs", "uploads"]
    assert [line.split()[0] for line in output(capsys, place, "ls", "datasets").splitlines()[1:]] == ["datasets/cat", "datasets/dog"]
    assert hashlib.sha256(b"1").hexdigest() in output(capsys, place, "show", "datasets/dog")
    assert json.loads(output(capsys, place, "show", "datasets/cat", "--json"))["objects"] == [{"path": "b.png", "sha256": None}]
    assert "0 artifacts" in output(capsys, place, "gc", "--caches", "--min-age-hours", "100")
    assert main(["store", "rm", "datasets/cat", "--store", place]) == 2
    assert "jobs of this store name it" in capsys.readouterr().err
    output(capsys, place, "rm", "datasets/dog")
    output(capsys, place, "rm", "--force", "datasets/cat")
    assert not Path(place, "datasets").exists()
    assert not Path(place, "uploads").exists()


def test_gc_removes_what_nothing_needs(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path(place).rglob("*"))
    assert "2 artifacts, 3 objects, " in (dry := output(capsys, place, "gc", "--dry-run"))
    assert dry.splitlines()[-1].endswith("would be removed")
    assert sorted(Path(place).rglob("*")) == before
    assert json.loads(output(capsys, place, "gc", "--json"))["objects"] == 3
    assert not Path(place, "images").exists()
    assert "0 artifacts" in output(capsys, place, "gc")
    assert {path.name for path in Path(place).glob("*")} - {".incoming"} == {"cache", "checkpoint"}


def test_gc_leaves_alone_what_is_young(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 artifacts" in output(capsys, place, "gc", "--min-age-hours", "72")
