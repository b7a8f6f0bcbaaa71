"""From a training to a report and the files of --out: what is drawn and measured once, and what the files hold."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file

from kubetuner.artifacts import report
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.diffusion import tensors
from kubetuner.errors import Interrupted
from kubetuner.evaluate.core.outputs import write_outputs
from kubetuner.evaluate.core.run import run as evaluate
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun
from tests.builders import photographs
from tests.flow.flows import Counter, Place, a_run

TRAIN: dict[str, Any] = {"maxSteps": 4, "checkpoint": {"everySteps": 2, "keep": 2}}
EVALUATE: dict[str, Any] = {"numImages": 2, "loss": {"numTimesteps": 2}}


def a_small_run(changes: dict[str, Any] | None = None, /, held_out: bool = True, **parts: Any) -> TrainingRun:
    document = a_run(changes, **{"train": TRAIN, "evaluate": EVALUATE} | parts)
    if held_out:
        other = document.spec.datasets.add()
        other.CopyFrom(document.spec.datasets[0])
        other.id, other.dataset_type, other.source.uri = "heldout", "eval", "heldout"
        other.ClearField("repeats")
        other.ClearField("probability")
    return document


def evaluated(place: Place, run: TrainingRun, ctx: StageContext | None = None) -> ArtifactRef:
    ctx = ctx or place.context()
    return evaluate(run.spec, place.trained(run, ctx), ctx)


@pytest.fixture(scope="module")
def done(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place where `a_small_run()` is evaluated; tests that write work on a copy."""
    folder = tmp_path_factory.mktemp("evaluated")
    photographs(folder / "photographs", [(64, 64), (128, 64), (70, 90), (64, 64), (64, 128)])
    photographs(folder / "heldout", [(64, 64), (80, 80)])
    (folder / "tiny-sdxl").symlink_to(tiny_sdxl)
    place = Place(folder)
    evaluated(place, a_small_run())
    return place


def copy(place: Place, *, without: tuple[str, ...] = ()) -> Place:
    """The place with a store of its own that lacks some nouns."""
    other = Place(place.base)
    for info in place.store.list():
        if info.key.split("/")[0] not in without:
            other.store.put(info.key, place.store.get(info.key))
    return other


def test_every_kept_checkpoint_is_ranked_by_the_held_out_loss(done: Place) -> None:
    found = report.read(done.store, evaluated(done, a_small_run())).document["evaluation"]
    assert [model["step"] for model in found["models"]] == [None, 2, 4]
    assert [model["heldOut"]["images"] for model in found["models"]] == [2, 2, 2]
    assert [model["training"]["images"] for model in found["models"]] == [2, 2, 2]
    assert found["rankedBy"] == "heldOut"
    by_loss = sorted(found["models"][1:], key=lambda model: model["heldOut"]["mean"])
    assert found["ranking"] == [model["step"] for model in by_loss]
    assert found["models"][0]["heldOut"]["mean"] != found["models"][2]["heldOut"]["mean"]


def test_without_held_out_pictures_the_training_loss_ranks(done: Place) -> None:
    place = copy(done)
    found = report.read(place.store, evaluated(place, a_small_run(held_out=False))).document["evaluation"]
    assert (found["rankedBy"], found["models"][0]["heldOut"]) == ("training", None)


def test_base_images_are_drawn_once_for_all_runs_of_a_store(done: Place) -> None:
    place = copy(done)
    second, third = place.context(), place.context()
    evaluated(place, a_small_run({"train.lora.alpha": 8}), second)
    evaluated(place, a_small_run(), third)
    assert [ctx.work["imagesGenerated"] for ctx in (second, third)] == [2, 0]


def test_the_same_noise_begins_both_images_of_a_pair(done: Place) -> None:
    """With a learning rate that moves nothing the two are the same picture."""
    place = copy(done)
    found = report.read(place.store, evaluated(place, a_small_run({"train.optimizer.learningRate": 1e-30})))
    pairs = [(found.image(row["base"]), found.image(row["tuned"])) for row in found.document["images"]]
    assert [base == tuned for base, tuned in pairs] == [True, True]
    assert pairs[0] != pairs[1]


def assert_goes_on_to_the_same_report(place: Place, run: TrainingRun, *, after: int, undisturbed: Place, pictures: int) -> None:
    """An evaluation that was stopped `after` so many passes, and begun again, draws each picture once and ends as the undisturbed one."""
    stopped, resumed = place.context(Counter(stage="evaluate", after=after)), place.context()
    with pytest.raises(Interrupted):
        evaluated(place, run, stopped)
    found = evaluated(place, run, resumed)
    assert stopped.work["imagesGenerated"] + resumed.work["imagesGenerated"] == pictures
    assert place.store.get(found.key("index.json")) == undisturbed.store.get(found.key("index.json"))


@pytest.mark.parametrize("after", [0, 13])
def test_an_interrupted_evaluation_goes_on_to_the_same_report(done: Place, after: int) -> None:
    place = copy(done, without=("images", "losses", "report"))
    assert_goes_on_to_the_same_report(place, a_small_run(), after=after, undisturbed=done, pictures=4)


@pytest.mark.parametrize("cache", ["on-demand", "disabled"])
def test_caches_that_were_not_filled_give_the_same_scores(done: Place, cache: str) -> None:
    """Up to what bf16 makes of encoding one by one instead of in batches."""
    eager = report.read(done.store, evaluated(done, a_small_run())).document["evaluation"]["models"][0]
    place = Place(done.base)
    run = a_small_run(embed={"text": {"cache": cache}, "vae": {"cache": cache}})
    found = report.read(place.store, evaluated(place, run)).document["evaluation"]["models"][0]
    assert found["heldOut"]["mean"] == pytest.approx(eager["heldOut"]["mean"], rel=2e-3)


def test_no_prompts_draw_nothing(done: Place) -> None:
    place = copy(done)
    run = a_small_run(evaluate={"prompts": [], "loss": {"numTimesteps": 1}})
    ctx = place.context()
    assert report.read(place.store, evaluated(place, run, ctx)).document["images"] == []
    assert ctx.work["imagesGenerated"] == 0


def a_comparing_run() -> TrainingRun:
    """`a_small_run()` with held-out captions drawn at two strengths, and a contact sheet."""
    run = a_small_run()
    run.spec.evaluate.dataset_prompts, run.spec.evaluate.contact_sheet = 2, 3
    run.spec.evaluate.adapter_scales[:] = [0, 0.5, 1]
    return run


@pytest.fixture(scope="module")
def compared(done: Place) -> Place:
    """A place where `a_comparing_run()` is evaluated."""
    place = copy(done)
    evaluated(place, a_comparing_run())
    return place


def test_captions_of_held_out_pictures_are_drawn_beside_the_true_ones(compared: Place) -> None:
    found = report.read(compared.store, evaluated(compared, a_comparing_run()))
    own, *rows = found.document["images"][1:]
    assert "true" not in own
    assert [(row["prompt"], row["dataset"]) for row in rows] == [("a green picture 001", "heldout")] * 2 + [
        ("a red picture 000", "heldout")
    ] * 2
    names = [row["base"] for row in rows] + [row["true"] for row in rows] + [row["image"] for row in found.document["contactSheet"]]
    sizes = {name: Image.open(io.BytesIO(found.image(name))).size for name in names}
    assert {sizes[row["true"]] for row in rows} == {(row["width"], row["height"]) for row in rows}
    assert all(sizes[row["true"]] == sizes[row["base"]] for row in rows)
    assert len(found.document["contactSheet"]) == 3


def test_true_pictures_are_those_of_their_captions(compared: Place) -> None:
    """The tiny autoencoder's weights are random, yet two pictures do not come out of it alike."""
    found = report.read(compared.store, evaluated(compared, a_comparing_run()))
    pictures = {row["prompt"]: found.image(row["true"]) for row in found.document["images"] if "true" in row}
    assert len(set(pictures.values())) == 2


def test_strengths_lie_between_the_base_and_what_was_trained(compared: Place) -> None:
    found = report.read(compared.store, evaluated(compared, a_comparing_run()))
    for row in found.document["images"]:
        [half] = row["strengths"]
        assert half["scale"] == 0.5
        base, middle, tuned = (_pixels(found.image(name)) for name in (row["base"], half["image"], row["tuned"]))
        assert abs(base - tuned).max() > 0
        assert abs(middle - base).mean() < abs(tuned - base).mean()
        assert abs(middle - tuned).mean() < abs(tuned - base).mean()


def test_drawing_at_other_strengths_leaves_all_else_as_it_was(done: Place, compared: Place) -> None:
    before = report.read(done.store, evaluated(done, a_small_run()))
    after = report.read(compared.store, evaluated(compared, a_comparing_run()))
    assert (after.document["evaluation"], after.index["exports"]) == (before.document["evaluation"], before.index["exports"])
    assert [after.image(row["tuned"]) for row in after.document["images"][:2]] == [
        before.image(row["tuned"]) for row in before.document["images"]
    ]


def test_what_is_drawn_is_measured_at_each_strength(compared: Place) -> None:
    found = report.read(compared.store, evaluated(compared, a_comparing_run())).document["measures"]
    assert (found["images"], found["pictures"]) == (4, 2)
    assert [row["scale"] for row in found["drawn"]] == [0, 0.5, 1]
    assert all(0 <= row["colourless"] <= 1 and 1 <= row["rank"] <= 2 and 0 <= row["first"] <= 1 for row in found["drawn"])


def test_a_report_that_was_not_asked_for_more_has_nothing_more(done: Place) -> None:
    found = report.read(done.store, evaluated(done, a_small_run())).document
    assert not {"measures", "contactSheet"} & found.keys()
    assert all(row.keys() == {"prompt", "negativePrompt", "width", "height", "seed", "base", "tuned"} for row in found["images"])


@pytest.mark.parametrize("after", [0, 21])
def test_an_interrupted_comparison_goes_on_to_the_same_report(done: Place, compared: Place, after: int) -> None:
    place = copy(done, without=("images", "losses", "report"))
    assert_goes_on_to_the_same_report(place, a_comparing_run(), after=after, undisturbed=compared, pictures=18)


def test_outputs_hold_every_picture_of_the_report(compared: Place, tmp_path: Path) -> None:
    files = write(copy(compared), a_comparing_run(), tmp_path / "out")
    document = json.loads(files["report/report.json"])
    named = {row[which] for row in document["images"] for which in ("base", "tuned", "true") if which in row}
    named |= {drawn["image"] for row in document["images"] for drawn in row["strengths"]} | {
        row["image"] for row in document["contactSheet"]
    }
    assert {f"report/{name}" for name in named} == {name for name in files if name.startswith("report/images/")}


def test_pictures_are_shown_where_the_sources_are_gone(done: Place, compared: Place, tmp_path: Path) -> None:
    """The latents are all it takes."""
    place = copy(done, without=("images", "report"))
    run = a_comparing_run()
    checkpoint = place.trained(run, place.context())
    away = Place(tmp_path)
    away.store = place.store
    (tmp_path / "tiny-sdxl").symlink_to((done.base / "tiny-sdxl").resolve())
    found = evaluate(run.spec, checkpoint, away.context())
    assert place.store.get(found.key("index.json")) == compared.store.get(found.key("index.json"))


def write(place: Place, run: TrainingRun, out: Path) -> dict[str, bytes]:
    write_outputs(place.store, evaluated(place, run), run, out, {"phase": "Succeeded"}, base=place.base)
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_outputs_of_a_lora(done: Place, tmp_path: Path) -> None:
    run = a_small_run({"train.lora.alpha": 3})
    files = write(copy(done), run, tmp_path / "out")
    assert {name for name in files if not name.startswith("report/images/")} == {
        "lora.safetensors",
        "diffusers/pytorch_lora_weights.safetensors",
        "report/index.html",
        "report/report.json",
        "run.resolved.yaml",
        "result.json",
    }
    header = tensors.read_metadata(tmp_path / "out" / "lora.safetensors")
    assert (header["ss_output_name"], header["ss_network_alpha"], header["ss_num_train_images"]) == ("tiny", "3", "5")
    assert json.loads(header["ss_tag_frequency"])["photographs"]
    document = json.loads(files["report/report.json"])
    assert all(f"report/{row[which]}" in files for row in document["images"] for which in ("base", "tuned"))


def test_the_report_shows_what_a_users_tool_draws(done: Place, tmp_path: Path) -> None:
    """The tuned image again, by diffusers' pipeline with its own text encoders and the exported file."""
    run = a_small_run(evaluate={"steps": 2, "sampler": "euler", "guidance": 4.0, "loss": {"numTimesteps": 1}})
    write(copy(done), run, tmp_path / "out")
    pipe = StableDiffusionXLPipeline.from_pretrained(done.base / "tiny-sdxl")
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, timestep_spacing="trailing")
    pipe.load_lora_weights(str(tmp_path / "out" / "diffusers"))
    pipe.set_progress_bar_config(disable=True)
    image = pipe(
        "a photograph of a cat",
        negative_prompt="blurry, cropped, ugly",
        num_inference_steps=2,
        guidance_scale=4.0,
        width=64,
        height=64,
        generator=torch.Generator("cpu").manual_seed(run.spec.evaluate.seed),
    ).images[0]
    drawn = _open(tmp_path / "out" / "report" / "images" / "000-tuned.png")
    difference = torch.tensor([abs(a - b) for a, b in zip(image.tobytes(), drawn, strict=True)]).float()
    assert difference.mean() < 3
    assert len(set(drawn)) > 20


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.float64)


def _open(path: Path) -> bytes:
    return Image.open(path).convert("RGB").tobytes()


def test_outputs_are_the_same_bytes_again_and_replace_what_was_there(done: Place, tmp_path: Path) -> None:
    run = a_small_run()
    first = write(copy(done), run, tmp_path / "a")
    (tmp_path / "b" / "report").mkdir(parents=True)
    (tmp_path / "b" / "lora.safetensors").write_bytes(b"old")
    assert write(copy(done), run, tmp_path / "b") == first


def test_outputs_of_a_full_training_load_as_a_model(done: Place, tmp_path: Path) -> None:
    run = a_small_run(held_out=False, train={**TRAIN, "type": "full", "lora": None, "optimizer": {"learningRate": 1e-4}})
    files = write(copy(done), run, tmp_path / "out")
    assert {"model.safetensors", "diffusers/model_index.json", "diffusers/unet/diffusion_pytorch_model.safetensors"} <= files.keys()
    pipe = StableDiffusionXLPipeline.from_pretrained(tmp_path / "out" / "diffusers")
    trained = load_file(tmp_path / "out" / "diffusers" / "unet" / "diffusion_pytorch_model.safetensors")
    base = load_file(done.base / "tiny-sdxl" / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(value, trained[name]) for name, value in pipe.unet.state_dict().items())
    assert any(not torch.equal(value, base[name]) for name, value in trained.items())
    again = a_small_run({"model.path": str(tmp_path / "out" / "model.safetensors")}, train={**TRAIN, "maxSteps": 2}, held_out=False)
    again.spec.model.config = "tiny-sdxl"
    evaluated(copy(done), again)
    assert write(copy(done), run, tmp_path / "out") == files
