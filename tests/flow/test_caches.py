"""Each caption and each picture is encoded once for ever; what is changed, and only that, is encoded again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.builders import picture
from tests.flow.flows import Place, a_run

PICTURES, CAPTIONS = 7, 10  # seven names, the empty prompt, the prompt and the negative prompt


def encoded(place: Place, changes: dict | None = None) -> tuple[int, int]:
    """Captions and pictures that a run encodes."""
    ctx = place.context()
    place.trained(a_run({"train.maxSteps": 1, "embed.vae.precision": "fp32", **(changes or {})}), ctx)
    return ctx.work["captionsEncoded"], ctx.work["imagesEncoded"]


@pytest.fixture
def filled(place: Place) -> Place:
    assert encoded(place) == (CAPTIONS, PICTURES)
    return place


def own_model(place: Place) -> Path:
    """The place's model as files of its own instead of a link."""
    model = place.base / "tiny-sdxl"
    origin = model.resolve()
    model.unlink()
    shutil.copytree(origin, model)
    return model


def touch_weights(path: Path) -> None:
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] += 0.5
    save_file(tensors, path, {"format": "pt"})


def edit_a_picture(place: Place) -> None:
    picture((64, 64), colour="grey", seed=99).save(place.base / "photographs" / "a_red_picture_000.png")


def rename_a_picture(place: Place) -> None:
    folder = place.base / "photographs"
    (folder / "a_red_picture_000.png").rename(folder / "a_blue_house.png")


def add_a_twin(place: Place) -> None:
    folder = place.base / "photographs" / "deeper"
    folder.mkdir()
    shutil.copy(place.base / "photographs" / "a_red_picture_000.png", folder)


def move_all(place: Place) -> None:
    (place.base / "photographs").rename(place.base / "elsewhere")


def change_the_autoencoder(place: Place) -> None:
    touch_weights(own_model(place) / "vae" / "diffusion_pytorch_model.safetensors")


def change_an_encoder(place: Place) -> None:
    touch_weights(own_model(place) / "text_encoder_2" / "model.safetensors")


def change_the_unet(place: Place) -> None:
    touch_weights(own_model(place) / "unet" / "diffusion_pytorch_model.safetensors")


def copy_the_model(place: Place) -> None:
    own_model(place)


def nothing(place: Place) -> None:
    pass


@pytest.mark.parametrize(
    ("deed", "changes", "expected"),
    [
        (nothing, {"train.optimizer.learningRate": 0.7}, (0, 0)),
        (nothing, {"evaluate.prompts": ["a blue cat"]}, (0, 0)),
        (nothing, {"datasets[0].id": "another", "seed": 1}, (0, 0)),
        (move_all, {"datasets[0].source.uri": "elsewhere"}, (0, 0)),
        (copy_the_model, {}, (0, 0)),
        (change_the_unet, {}, (0, 0)),
        (add_a_twin, {}, (0, 0)),
        (edit_a_picture, {}, (0, 1)),
        (rename_a_picture, {}, (1, 0)),
        (change_the_autoencoder, {}, (0, PICTURES)),
        (change_an_encoder, {}, (CAPTIONS, 0)),
        (nothing, {"datasets[0].captionFilters": ["picture"]}, (7, 0)),
        (nothing, {"datasets[0].resolution": 128}, (0, PICTURES)),
        (nothing, {"embed.vae.precision": "bf16"}, (0, PICTURES)),
    ],
)
def test_only_what_changed_is_encoded_again(filled: Place, deed: Callable[[Place], None], changes: dict, expected: tuple[int, int]) -> None:
    deed(filled)
    assert encoded(filled, changes) == expected


def test_another_crop_is_another_latent_and_the_old_one_is_kept(place: Place) -> None:
    cropped = {"datasets[0].crop": True, "datasets[0].cropStyle": "corner"}
    encoded(place, cropped)
    moved = encoded(place, {**cropped, "datasets[0].cropStyle": "centre"})
    assert moved[0] == 0
    assert 0 < moved[1] <= PICTURES
    assert encoded(place, {**cropped, "train.optimizer.learningRate": 0.7}) == (0, 0)


def test_prompts_alone_are_encoded_when_asked_of_a_finished_cache(filled: Place) -> None:
    """The cache of the manifest is finished, so embed does not look at prompts: evaluate encodes the new one."""
    assert encoded(filled, {"evaluate.prompts": ["a striped cat"], "train.optimizer.learningRate": 0.7}) == (0, 0)
