"""A SimpleTuner set-up as a run: every key is carried or named, and the run does what it did there."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetuner.errors import InputError
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import to_json
from kubetuner.spec.simpletuner import Imported, import_config
from kubetuner.spec.simpletuner.tables import CONFIG, DATASET

DATA = Path(__file__).parents[2] / "data" / "simpletuner"
CONFIG_MIN = {"model_family": "sdxl", "model_type": "lora", "max_train_steps": 10}
DATASET_MIN = {"id": "a", "type": "local", "instance_data_dir": "pictures"}


def imported(tmp_path: Path, config: dict[str, Any] | None = None, *entries: dict[str, Any]) -> Imported:
    folder = tmp_path / "config"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG_MIN | (config or {})))
    (folder / "multidatabackend.json").write_text(json.dumps(list(entries) or [DATASET_MIN]))
    return import_config(folder / "config.json", environment={"HOME_OF_DATA": "/data"})


def named(found: Imported) -> dict[str, str]:
    return {item.key: item.reason for item in found.not_carried}


def test_the_quickstart_becomes_a_run_that_says_the_same() -> None:
    found = import_config(DATA / "quickstart/config/config.json")
    spec = found.run.spec
    assert list(named(found)) == ["config.json: validation_step_interval"]
    assert (spec.train.type, spec.train.lora.rank, spec.train.lora.dropout) == ("lora", 16, 0.1)
    assert (spec.train.optimizer.type, spec.train.optimizer.learning_rate) == ("adamw_bf16", 1e-4)
    assert (spec.train.max_grad_norm, spec.train.grad_clip_method, spec.train.remainder) == (2.0, "value", "fill")
    assert (spec.embed.text.write_batch_size, spec.embed.vae.sample) == (128, "once")
    assert list(spec.evaluate.resolutions) == ["1024x1024", "1280x768"]
    dataset = spec.datasets[0]
    assert (dataset.crop_aspect, dataset.resolution, dataset.minimum_image_size, dataset.original_size) == ("square", 1.0, 0.25, "resized")


def test_a_set_up_with_much_that_is_not_there_names_all_of_it() -> None:
    found = import_config(DATA / "several/config/config.json", environment={"OUTPUT": "/out"})
    spec = found.run.spec
    assert found.run.metadata.name == "style-study"
    assert [dataset.id for dataset in spec.datasets] == ["style-main", "extra", "heldout"]
    assert [dataset.source.uri for dataset in spec.datasets][1] == "s3://pictures/style/extra"
    assert list(spec.datasets[1].instance_prompts) == ["a picture in the style", "in the style"]
    assert list(spec.datasets[0].caption_filters) == ["watermark", "s/ +/ /"]
    assert spec.train.timesteps.bias_strategy == "high_noise"
    assert (spec.train.epochs, spec.train.HasField("max_steps")) == (3, False)
    assert list(spec.evaluate.prompts) == ["a camera in the style", "a cat in the style"]
    assert {key.partition(": ")[2] for key in named(found) if key.startswith("config.json")} == {
        "variant", "optimizer", "optimizer_config", "lr_scheduler", "user_prompt_library", "use_dora", "eval_steps_interval",
        "webhook_config", "some_new_option",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["quickstart", "several"])
def test_every_key_is_carried_or_named_once(name: str) -> None:
    config = DATA / name / "config/config.json"
    found = import_config(config, environment={"OUTPUT": "/out"})
    backends = next(path for path in (config.parent / "multidatabackend.json", config.parent.parent / "backends.json") if path.is_file())
    given = [f"config.json: {key.lstrip('-')}" for key in json.loads(config.read_text())]
    for index, entry in enumerate(json.loads(backends.read_text())):
        given += [f"{backends.name}[{index}]: {key}" for key in entry]
    assert sorted([*found.carried, *(item.key for item in found.not_carried)]) == sorted(given)
    assert all(item.reason for item in found.not_carried)


@pytest.mark.parametrize("name", ["quickstart", "several"])
def test_the_imported_run_passes_the_checks(name: str) -> None:
    run = import_config(DATA / name / "config/config.json", environment={"OUTPUT": "/out"}).run
    assert parse_run(to_json(run)) == run


@pytest.mark.parametrize(
    ("config", "path", "value"),
    [
        ({}, "train.optimizer.learningRate", 4e-7),
        ({}, "train.captionDropoutProbability", 0.1),
        ({}, "train.gradClipMethod", "value"),
        ({}, "evaluate.resolutions", ["256x256"]),
        ({}, "evaluate.guidance", 7.5),
        ({}, "model.vae.path", "madebyollin/sdxl-vae-fp16-fix"),
        ({"model_type": ""}, "train.type", "full"),
        ({"learning_rate": "1e-4"}, "train.optimizer.learningRate", 1e-4),
        ({"--use_gradient_checkpointing": "false"}, "train.gradientCheckpointing", False),
        ({"gradient_checkpointing": True}, "train.gradientCheckpointing", True),
        ({"optimizer": "torch-adamw"}, "train.optimizer.type", "adamw"),
        ({"optimizer": "prodigy"}, "train.optimizer.type", "adamw"),
        ({"optimizer_config": "beta1=0.8, eps=1e-6"}, "train.optimizer.epsilon", 1e-6),
        ({"mixed_precision": "no"}, "train.mixedPrecision", "fp32"),
        ({"timestep_bias_strategy": "earlier"}, "train.timesteps.biasStrategy", "low_noise"),
        ({"lr_scheduler": "polynomial"}, "train.schedule.power", 0.8),
        ({"lr_scheduler": "cosine_with_restarts", "lr_num_cycles": 3}, "train.schedule.cycles", 3),
        ({"offset_noise": True}, "train.noise.offset", 0.1),
        ({"max_train_steps": 0, "num_train_epochs": "4"}, "train.epochs", 4),
        ({"validation_resolution": "1000x700"}, "evaluate.resolutions", ["992x704"]),
        ({"peft_lora_target_modules": '["to_q"]'}, "train.lora.targets", ["to_q"]),
        ({"vae_cache_disable": True}, "embed.vae.cache", "disabled"),
        ({"resolution": 512, "resolution_type": "pixel"}, "datasets.0.resolutionType", "pixel"),
        ({"pretrained_model_name_or_path": "{env:HOME_OF_DATA}/sdxl"}, "model.path", "/data/sdxl"),
    ],
)
def test_a_key_or_its_absence_says_what_it_said_there(tmp_path: Path, config: dict[str, Any], path: str, value: object) -> None:
    found: Any = to_json(imported(tmp_path, config).run.spec)
    for step in path.split("."):
        found = found[int(step)] if step.isdecimal() else found[step]
    assert found == value


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_family": "flux"}, "flux given; KubeTuner trains sdxl"),
        ({"model_flavour": "refiner-1.0"}, "not the refiner"),
        ({"max_train_steps": 0}, "neither max_train_steps nor num_train_epochs"),
        ({"num_train_epochs": 2}, "set one of the two to 0"),
        ({"lora_rank": "many"}, 'lora_rank: "many" given, but a number is expected'),
        ({"lora_rank": 1.5}, "a whole number is expected"),
        ({"use_ema": "perhaps"}, "true or false is expected"),
        ({"output_dir": "{env:ABSENT}/x"}, "the environment has no ABSENT"),
        ({"--max_train_steps": 5}, "given twice, with and without --"),
        ({"validation_resolution": "big"}, "1024 or 1024x768 is expected"),
        ({"lora_rank": 5000}, "spec.train.lora.rank: 5000 given"),
        ({"data_backend_config": "absent.json"}, "give it as the second file"),
    ],
)
def test_what_cannot_be_imported_is_told(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as raised:
        imported(tmp_path, config)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"id": "a", "type": "local"}, "instance_data_dir is missing"),
        ({"id": "a", "type": "aws"}, "aws_bucket_name is missing"),
        ({"id": "a", "type": "csv"}, "can be trained on"),
        (DATASET_MIN | {"disabled": "true"}, "can be trained on"),
        (DATASET_MIN | {"crop": True, "crop_aspect": "random", "crop_aspect_buckets": ["x"]}, "each is a number or {aspect, weight}"),
    ],
)
def test_a_data_backend_that_cannot_be_imported_is_told(tmp_path: Path, entry: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as raised:
        imported(tmp_path, None, entry)
    assert words in str(raised.value)


def test_a_secret_is_neither_filled_in_nor_shown(tmp_path: Path) -> None:
    entry = {"id": "a", "type": "aws", "aws_bucket_name": "b", "aws_secret_access_key": "hunter2", "aws_session_token": "{env:ABSENT}"}
    found = imported(tmp_path, None, entry)
    assert "hunter2" not in str(found)
    assert len(named(found)) == 2


def test_a_local_folder_that_is_there_becomes_absolute(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    assert imported(tmp_path).run.spec.datasets[0].source.uri == str((tmp_path / "pictures").resolve())


@pytest.mark.parametrize("content", ["", "{", "[]", "nul", "[" * 100000, '{"a": ' + "9" * 5000 + "}"])
def test_a_file_that_is_no_config_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError):
        import_config(tmp_path / "config.json")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5000), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.sampled_from(["true", "1e-4", "none", "lora", "{env:X}", "0"]),
)  # fmt: skip
NAMES = sorted(
    {key.lstrip("-") for name in ("quickstart", "several") for key in json.loads((DATA / name / "config/config.json").read_text())}
)
FIELDS = (
    "crop", "crop_aspect", "crop_aspect_buckets", "crop_style", "resolution", "instance_prompt", "caption_strategy", "repeats",
    "type", "dataset_type", "disabled", "caption_filter_list", "id", "train_batch_size", "maximum_image_size",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_no_set_up_raises_anything_but_an_input_error(tmp_path_factory: pytest.TempPathFactory, config: Any, entry: Any) -> None:
    with contextlib.suppress(InputError):
        imported(tmp_path_factory.getbasetemp(), config, DATASET_MIN | entry)


@pytest.mark.parametrize("table", [CONFIG, DATASET])
def test_every_key_that_can_lose_something_has_a_reason(table: dict[str, Any]) -> None:
    assert [name for name, settled in table.items() if not settled.always and not settled.reason] == []
