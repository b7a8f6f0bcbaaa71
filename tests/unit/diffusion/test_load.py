"""Finding and reading the base model, and what is said when it is not whole."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kubetuner.diffusion import load, tensors
from kubetuner.errors import DataError, SpecError
from kubetuner.evaluate.core import full
from kubetuner.v1alpha1.training_run_pb2 import Model

CPU = torch.device("cpu")


def copy_of(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def test_only_the_part_that_is_asked_for_is_read(tiny_sdxl: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_sdxl, tmp_path)
    for part in ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        shutil.rmtree(model / part)
    source = load.open_model(Model(path="model"), base=tmp_path)
    assert load.load_unet(source, dtype=torch.float32, device=CPU).config.addition_embed_type == "text_time"


def test_a_digest_is_of_content_not_of_place(tiny_sdxl: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_sdxl, tmp_path)
    here, there = (load.open_model(Model(path=str(path)), base=tmp_path) for path in (tiny_sdxl, model))
    assert here.digest("unet") == there.digest("unet")
    weights = model / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, weights)
    assert here.digest("vae") != load.open_model(Model(path=str(model)), base=tmp_path).digest("vae")


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "a/b/c", "nowhere"])
def test_a_model_that_is_not_there_is_named(path: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"spec\.model\.path.*does not exist"):
        load.open_model(Model(path=path), base=tmp_path)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(SpecError, match=r"only \.safetensors"):
        load.open_model(Model(path="model.ckpt"), base=tmp_path)


def drop_part(model: Path) -> None:
    shutil.rmtree(model / "unet")


def drop_weights(model: Path) -> None:
    (model / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def cut_weights(model: Path) -> None:
    file = model / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def drop_a_tensor(model: Path) -> None:
    file = model / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors.pop("conv_in.weight")
    save_file(tensors, file)


def change_a_shape(model: Path) -> None:
    file = model / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.weight"] = torch.zeros(1, 2, 3, 3)
    save_file(tensors, file)


def break_config(model: Path) -> None:
    (model / "unet" / "config.json").write_text("{")


@pytest.mark.parametrize("damage", [drop_part, drop_weights, cut_weights, drop_a_tensor, change_a_shape, break_config])
def test_a_damaged_model_is_named_in_one_line(tiny_sdxl: Path, tmp_path: Path, damage) -> None:  # noqa: ANN001 (a deed of the table)
    model = copy_of(tiny_sdxl, tmp_path)
    damage(model)
    source = load.open_model(Model(path="model"), base=tmp_path)
    with pytest.raises(DataError) as caught:
        load.load_unet(source, dtype=torch.float32, device=CPU)
    assert "unet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_autoencoder_that_overflows_is_refused_in_fp16(tiny_sdxl: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_sdxl, tmp_path)
    config = json.loads((model / "vae" / "config.json").read_text())
    (model / "vae" / "config.json").write_text(json.dumps({**config, "force_upcast": True}))
    source = load.open_model(Model(path="model"), base=tmp_path)
    with pytest.raises(SpecError, match=r"spec\.embed\.vae\.precision"):
        load.load_vae(source, dtype=torch.float16, device=CPU)


def test_an_autoencoder_of_its_own_replaces_the_models(tiny_sdxl: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_sdxl / "vae", tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "scaling_factor": 0.5}))
    model = Model(path=str(tiny_sdxl))
    model.vae.path = "other"
    source = load.open_model(model, base=tmp_path)
    assert load.load_vae(source, dtype=torch.float32, device=CPU).config.scaling_factor == 0.5
    assert source.digest("vae") != load.open_model(Model(path=str(tiny_sdxl)), base=tmp_path).digest("vae")


def write_single(folder: load.ModelSource, path: Path) -> None:
    """All parts of a model as one file, as a full fine-tune exports them."""
    unet = load.load_unet(folder, dtype=torch.float32, device=CPU)
    tensors.write(path, full.single_file_entries(folder, unet.state_dict()), {})


def test_a_single_file_gives_the_same_parts_as_the_folder(tiny_sdxl: Path, tmp_path: Path) -> None:
    folder = load.open_model(Model(path=str(tiny_sdxl)), base=tmp_path)
    write_single(folder, tmp_path / "model.safetensors")
    single = load.open_model(Model(path="model.safetensors", config=str(tiny_sdxl)), base=tmp_path)
    for read in (load.load_unet, load.load_vae):
        one, other = (read(source, dtype=torch.float32, device=CPU).state_dict() for source in (folder, single))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    encoders = [load.load_text_encoders(source, dtype=torch.float32, device=CPU) for source in (folder, single)]
    for part in ("first", "second"):
        one, other = (getattr(pair, part).state_dict() for pair in encoders)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert single.digest("unet") != single.digest("vae")
