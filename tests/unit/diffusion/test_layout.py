"""A model that is not whole, or not of SDXL, is told from its small files in one line that names the file and the cure."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kubetuner.diffusion import layout, load
from kubetuner.errors import DataError, InputError, SpecError
from kubetuner.v1alpha1.training_run_pb2 import Model

CPU = torch.device("cpu")
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
WEIGHTS = {part: f"{part}/{'model' if 'text' in part else 'diffusion_pytorch_model'}.safetensors" for part in PARTS}


@pytest.fixture
def model(tiny_sdxl: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_sdxl, tmp_path / "model"))


def check(model: Path, **fields: Any) -> None:
    layout.check_model(Model(**{"path": "model", **fields}), model.parent)


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def told(model: Path, **fields: Any) -> str:
    with pytest.raises(InputError) as caught:
        check(model, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_model_passes(model: Path) -> None:
    check(model)
    check(model, vae={"path": "model/vae"})
    check(model, vae={"path": "model"})


@pytest.mark.parametrize("part", [*PARTS, "tokenizer", "tokenizer_2", "scheduler"])
def test_a_part_that_is_missing_is_named(model: Path, part: str) -> None:
    shutil.rmtree(model / part)
    assert f"the part {part}/ is missing" in told(model)


@pytest.mark.parametrize("file", [f"{part}/{name}" for part, name in layout.CONFIGS.items()])
@pytest.mark.parametrize(
    "content", [None, b"", b"{nope", b"[]", b"\xff{", b"[" * 100_000], ids=["gone", "empty", "cut", "list", "bytes", "deep"]
)
def test_a_config_that_cannot_be_read_is_named(model: Path, file: str, content: bytes | None) -> None:
    (model / file).unlink()
    if content is not None:
        (model / file).write_bytes(content)
    assert str(model / file) in told(model)


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("unet/config.json", {"addition_embed_type": None}, "the U-Net of another family"),
        ("unet/config.json", {"_class_name": "FluxTransformer2DModel"}, "_class_name"),
        ("unet/config.json", {"in_channels": 9}, "in_channels is 9"),
        ("unet/config.json", {"cross_attention_dim": 768}, "the text encoders give 192"),
        ("unet/config.json", {"cross_attention_dim": [1]}, "cross_attention_dim is [1]"),
        ("unet/config.json", {"projection_class_embeddings_input_dim": 7}, "time ids and text_encoder_2 give"),
        ("vae/config.json", {"latent_channels": 16}, "latent_channels is 16"),
        ("vae/config.json", {"scaling_factor": "x"}, "scaling_factor"),
        ("vae/config.json", {"scaling_factor": None}, "scaling_factor is missing"),
        ("vae/config.json", {"block_out_channels": [32, 32]}, "four blocks"),
        ("vae/config.json", {"latents_mean": [0, 0, 0, 0]}, "latents_mean"),
        ("text_encoder/config.json", {"hidden_size": 32}, "not of one model"),
        ("text_encoder/config.json", {"vocab_size": 100}, "text_encoder knows 100 tokens"),
        ("text_encoder_2/config.json", {"projection_dim": "x"}, "projection_dim"),
        ("scheduler/scheduler_config.json", {"beta_start": None}, "beta_start is missing"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "nope"}, "beta_schedule"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 0}, "num_train_timesteps"),
        ("scheduler/scheduler_config.json", {"trained_betas": []}, "trained_betas"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "prediction_type"),
    ],
)
def test_a_model_of_another_kind_is_named(model: Path, file: str, values: dict[str, Any], words: str) -> None:
    change(model / file, **values)
    assert words in told(model)


@pytest.mark.parametrize("part", PARTS)
def test_weights_that_are_cut_short_or_only_a_pickle_are_named(model: Path, part: str) -> None:
    file = model / WEIGHTS[part]
    whole = file.read_bytes()
    for content in (whole[:-1], whole[:3000], b"", b"no weights at all", struct.pack("<Q", 1 << 62), struct.pack("<Q", 2) + b"{}"):
        file.write_bytes(content)
        assert str(file) in told(model)
    file.rename(file.with_suffix(".bin"))
    assert "pickles are not read" in told(model)


def test_a_variant_that_is_not_there_is_named(model: Path) -> None:
    assert "drop model.variant" in told(model, variant="fp16")


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_tokenizer_without_its_files_is_named(model: Path, name: str) -> None:
    (model / "tokenizer_2" / name).unlink()
    assert str(model / "tokenizer_2" / name) in told(model)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"])
def test_a_tokenizer_that_is_damaged_is_named(model: Path, name: str) -> None:
    (model / "tokenizer" / name).write_bytes(b"\xff{")
    source = load.open_model(Model(path="model"), base=model.parent)
    with pytest.raises(DataError, match=r"tokenizer.*bring the model again"):
        load.load_text_encoders(source, dtype=torch.float32, device=CPU)


def test_tokens_that_the_text_encoder_does_not_know_are_named(model: Path) -> None:
    file = model / "tokenizer" / "vocab.json"
    file.write_text(json.dumps({token: number + 10_000 for token, number in json.loads(file.read_text()).items()}))
    assert "its largest token is" in told(model)
    with pytest.raises(DataError, match="makes tokens up to"):
        load.load_text_encoders(load.open_model(Model(path="model"), base=model.parent), dtype=torch.float32, device=CPU)


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("text_encoder", {"hidden_act": 7}),
        ("text_encoder_2", {"num_attention_heads": []}),
        ("vae", {"in_channels": "x"}),
        ("unet", {"act_fn": 7}),
    ],
)
def test_a_config_that_no_model_can_be_built_from_is_named(model: Path, part: str, values: dict[str, Any]) -> None:
    change(model / part / "config.json", **values)
    source = load.open_model(Model(path="model"), base=model.parent)
    read = {"unet": load.load_unet, "vae": load.load_vae}.get(part, load.load_text_encoders)
    with pytest.raises(DataError, match=rf"model model: {part} cannot be loaded: .*; bring the model again$"):
        read(source, dtype=torch.float32, device=CPU)


def wrong_shape(weights: dict[str, torch.Tensor]) -> None:
    weights[max(weights, key=lambda name: weights[name].numel())] = torch.zeros(3, 3)


def not_a_number(weights: dict[str, torch.Tensor]) -> None:
    next(iter(weights.values())).view(-1)[0] = float("nan")


def one_more(weights: dict[str, torch.Tensor]) -> None:
    weights["surplus"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("part", "damage", "words"),
    [
        *((part, wrong_shape, "shape") for part in PARTS),
        ("unet", one_more, "has no place for 1 weights"),
        ("vae", one_more, "has no place for 1 weights"),
        ("vae", not_a_number, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_named(model: Path, part: str, damage: Callable[[dict[str, torch.Tensor]], None], words: str) -> None:
    weights = load_file(model / WEIGHTS[part])
    damage(weights)
    save_file(weights, model / WEIGHTS[part], metadata={"format": "pt"})
    source = load.open_model(Model(path="model"), base=model.parent)
    read = {"unet": load.load_unet, "vae": load.load_vae}.get(part, load.load_text_encoders)
    with pytest.raises(DataError) as caught:
        read(source, dtype=torch.float32, device=CPU)
    assert part in str(caught.value)
    assert words in str(caught.value)
    assert "ignore_mismatched_sizes" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no whole .safetensors file"),
        (b"this is no checkpoint at all", "no whole .safetensors file"),
        (struct.pack("<Q", 1 << 40), "no whole .safetensors file"),
        ({"lora_unet.alpha": torch.zeros(1)}, "holds no unet"),
        ({"model.diffusion_model.x": torch.zeros(1), "cond_stage_model.y": torch.zeros(1)}, "holds no vae"),
    ],
)
def test_a_single_file_that_is_no_sdxl_checkpoint_is_named(tmp_path: Path, content: bytes | dict[str, torch.Tensor], words: str) -> None:
    file = tmp_path / "model.safetensors"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        save_file(content, file)
    with pytest.raises(DataError, match=words):
        layout.check_model(Model(path="model.safetensors", config="none/none"), tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"path": "./nowhere"}, r"spec\.model\.path.*does not exist"),
        ({"path": "pickled.ckpt"}, r"spec\.model\.path.*only \.safetensors"),
        ({"path": "x" * 300}, r"spec\.model\.path.*cannot be looked at"),
        ({"path": "model", "vae": {"path": "./nowhere"}}, r"spec\.model\.vae\.path.*does not exist"),
        ({"path": "model", "vae": {"path": "model/unet"}}, "AutoencoderKL"),
    ],
)
def test_a_path_that_leads_to_no_model_is_named(model: Path, fields: dict[str, Any], words: str) -> None:
    (model.parent / "pickled.ckpt").write_bytes(b"")
    with pytest.raises((SpecError, DataError), match=words):
        layout.check_model(Model(**fields), model.parent)


def test_a_name_on_the_hub_is_left_to_whoever_brings_it(tmp_path: Path) -> None:
    layout.check_model(Model(path="owner/name"), tmp_path)
    layout.check_model(Model(), tmp_path)


def test_no_header_and_no_config_raises_anything_but_a_data_error(model: Path) -> None:
    draw = random.Random(4)
    files = [*(model / name for name in WEIGHTS.values()), *(model / part / name for part, name in layout.CONFIGS.items())]
    refused = 0
    for number in range(300):
        file = files[number % len(files)]
        whole = file.read_bytes()
        changed = bytearray(whole)
        if file.suffix == ".json" and draw.random() < 0.7:
            config = json.loads(whole)
            config[draw.choice(list(config))] = draw.choice([None, -1, 0, 2**70, "x", [], {}, True, 0.5, [1, 2], [None]])
            changed = bytearray(json.dumps(config).encode())
        else:
            for _ in range(draw.choice([1, 3, 30])):
                changed[draw.randrange(min(len(changed), 4000))] = draw.randrange(256)
        file.write_bytes(changed)
        try:
            check(model)
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017 (of each of three hundred)
        file.write_bytes(whole)
    assert refused > 50
