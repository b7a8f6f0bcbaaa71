"""From a file to a run: YAML, overrides, and files that are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetuner.errors import InputError
from kubetuner.spec import document, load
from kubetuner.spec.load import load_run, parse_run
from kubetuner.spec.resolve import to_json
from tests.unit.spec.mutations import mutated, valid

SMALL = """apiVersion: kubetuner.dev/v1alpha1
kind: TrainingRun
metadata: {name: run}
spec:
  model: {}
  datasets: [{id: a, source: {uri: ./a}}]
  train: {maxSteps: 10}
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b"# nothing\n", ["empty"]),
        (b"[1, 2]", ["a list"]),
        (b"hello", ["a single value"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00", ["not a text file"]),
        (b"a: 1\n---\nb: 2\n", ["line 2", "a second document"]),
        (b"a: [1, 2\nb: 3\n", ["line 2", "not valid YAML"]),
        (b"spec:\n  seed: 1\n  seed: 2\n", ["line 3", "seed is given twice", "line 2"]),
        (b"spec:\n\tseed: 1\n", ["line 2", "not valid YAML"]),
        (b"a: !!python/object/apply:os.system [ls]\n", ["line 1", "is not read here"]),
        (b"a: !!int ''\n", ["line 1", "not of its tag's kind"]),
        (b"a: " + b"9" * 5000, ["line 1"]),
        (b"[" * 5000, ["nested too deep"]),
        (b"a: *b\n", ["line 1"]),
        (b"x: " + b"y" * (1 << 20), ["at most 1048576"]),
    ],
)
def test_a_file_that_holds_no_run_is_told_in_one_line(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        load_run(path)
    message = str(raised.value)
    assert "\n" not in message
    assert [word for word in [str(path), *words] if word not in message] == []


def test_a_file_of_aliases_that_grow_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    levels = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 30)]
    path.write_text("a0: &a0 [lol]\n" + "\n".join(levels) + "\nspec: {evaluate: {prompts: *a29}, datasets: *a29}\n")
    with pytest.raises(InputError, match=r"spec.evaluate.prompts\[0\]: a list of 9, but text is expected"):
        load_run(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_run(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        ("-1.5e+2", -150.0),
        (".5", 0.5),
        ("0x10", 16),
        ("010", 8),
        ("1_000", 1000),
        ("yes", True),
        ("2026-11-22", "2026-11-22"),
        ("1:30", "1:30"),
        ("1024x768", "1024x768"),
        ("'1e-4'", "1e-4"),
        ("~", None),
        ("[a, 1]", ["a", 1]),
    ],
)
def test_scalars_are_read_as_kubernetes_reads_them(text: str, value: object) -> None:
    found = document.parse(text, "text")
    assert found == value
    assert type(found) is type(value)


SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=20)
TEXTS = st.sampled_from(["1e-4", "yes", "2026-11-22", "1:30", "0x1", "~", "", " a", "- b", "<<", "="])


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)


@given(st.recursive(SCALARS | TEXTS, grown, max_leaves=8))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_yaml_reads_back_what_it_wrote(value: object) -> None:
    text = document.write(value)
    assert document.parse(text, "text") == value
    assert yaml.safe_load(text) == value  # others' readers too


@given(st.binary(max_size=200))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_no_file_raises_anything_but_an_input_error(data: bytes) -> None:
    try:
        text = data.decode()
        found = document.parse(text, "text")
        if isinstance(found, dict):
            parse_run(found)
    except (InputError, UnicodeDecodeError):
        pass


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 400, 100)])
def test_changed_runs_pass_or_raise_input_errors(seeds: range) -> None:
    passed = 0
    for seed in seeds:
        try:
            parse_run(mutated(seed))
            passed += 1
        except InputError:
            continue
    assert 0 < passed < len(seeds)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.maxSteps=20", ("spec", "train", "maxSteps"), 20),
        ("spec.train.optimizer.learningRate=1e-4", ("spec", "train", "optimizer", "learningRate"), 1e-4),
        ("metadata.name=other", ("metadata", "name"), "other"),
        ("datasets[0].crop=true", ("spec", "datasets", 0, "crop"), True),
        ("datasets[1]={id: b, source: {uri: ./b}}", ("spec", "datasets", 1, "id"), "b"),
        ("evaluate.prompts[0]=a camera", ("spec", "evaluate", "prompts", 0), "a camera"),
        ("evaluate.prompts=[a, b]", ("spec", "evaluate", "prompts", 1), "b"),
        ("model.path=a=b", ("spec", "model", "path"), "a=b"),
    ],
)
def test_an_override_sets_its_field(run: Path, override: str, path: tuple[str | int, ...], value: object) -> None:
    found: object = to_json(load_run(run, [override]))
    for step in path:
        found = found[step]  # type: ignore[index]  # a walk through plain JSON
    assert found == value


def test_an_empty_override_takes_the_field_away(run: Path) -> None:
    found = load_run(run, ["train.maxSteps=", "train.epochs=2"])
    assert not found.spec.train.HasField("max_steps")
    assert found.spec.train.epochs == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.maxSteps", "no '='"),
        ("=3", "no field named"),
        ("[0]=3", "no field named"),
        ("train..maxSteps=3", "cannot read the path"),
        ("datasets[x].crop=true", "cannot read the path"),
        ("datasets[5].crop=true", "the next one is [1]"),
        ("datasets.crop=true", "not fields"),
        ("train[0]=1", "not a list"),
        ("train.maxSteps=[1", "not valid YAML"),
        ("train.maxStepz=3", "did you mean maxSteps?"),
    ],
)
def test_an_override_that_cannot_be_is_told(run: Path, override: str, words: str) -> None:
    with pytest.raises(InputError) as raised:
        load_run(run, [override])
    assert words in str(raised.value)


def test_reading_a_run_loads_no_torch_and_the_engine_only_to_check() -> None:
    code = (
        "import sys, kubetuner.spec.load, kubetuner.spec.resolve, kubetuner.spec.simpletuner\n"
        "heavy = {'torch', 'numpy', 'protovalidate', 'grpc', 'diffusers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    services = Path(load.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(services)}, check=True)


def test_the_valid_run_passes() -> None:
    assert parse_run(valid()).metadata.name == "run"
