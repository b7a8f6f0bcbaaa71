"""Training from the cache: settings take effect, an interruption changes nothing."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load

from kubetuner.errors import Interrupted, SpecError, TrainingError
from tests.flow.flows import Counter, Place, a_run

BASE = {"maxSteps": 6, "batchSize": 2, "checkpoint": {"everySteps": 3, "keep": 2}}


def test_the_adapter_moves_and_the_loss_is_kept(place: Place) -> None:
    training = place.trained(a_run(train=BASE))
    state = load(place.weights(training))
    assert all(tensor.abs().max() > 0 for name, tensor in state.items())
    assert len(state) == 2 * 4 * len({name.split(".to_")[0] for name in state})
    assert [row["step"] for row in place.history(training)] == [1, 2, 3, 4, 5, 6]


def test_a_finished_training_is_found_not_repeated(place: Place) -> None:
    run, ctx = a_run(train=BASE), place.context()
    training = place.trained(run, ctx)
    again = place.context()
    assert place.trained(run, again) == training
    assert (ctx.work["stepsTrained"], again.work["stepsTrained"], again.work["imagesEncoded"], again.work["captionsEncoded"]) == (
        6,
        0,
        0,
        0,
    )


@pytest.mark.parametrize("extra", [{}, {"ema": {"decay": 0.9}, "gradientAccumulationSteps": 2, "optimizer": {"type": "adamw_bf16"}}])
@pytest.mark.parametrize("after", [0, 2, 3])
def test_an_interrupted_training_ends_with_the_same_bytes(place: Place, after: int, extra: dict[str, Any]) -> None:
    run = a_run(train={**BASE, "lora": {"rank": 2, "dropout": 0.3}, "checkpoint": {"everySteps": 2, "keep": 2}, **extra})
    undisturbed = Place(place.base)
    expected = undisturbed.trained(run)
    with pytest.raises(Interrupted):
        place.trained(run, place.context(Counter(stage="train", after=after)))
    found = place.trained(run)
    assert found == expected
    assert place.weights(found) == undisturbed.weights(expected)
    assert place.history(found) == undisturbed.history(expected)


def test_old_states_make_room(place: Place) -> None:
    training = place.trained(a_run(train={**BASE, "checkpoint": {"everySteps": 1, "keep": 2}}))
    states = {info.key.split("/")[1] for info in place.store.list(f"checkpoint/{training.fingerprint}-")}
    assert states == {f"{training.fingerprint}-{step:09d}" for step in (5, 6)}


SETTINGS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 2},
    "rank": {"train.lora.rank": 3},
    "alpha": {"train.lora.alpha": 8},
    "dropout": {"train.lora.dropout": 0.5},
    "targets": {"train.lora.targets": ["to_q"]},
    "learning rate": {"train.optimizer.learningRate": 0.002},
    "beta1": {"train.optimizer.beta1": 0.5},
    "beta2": {"train.optimizer.beta2": 0.9},
    "epsilon": {"train.optimizer.epsilon": 0.001},
    "weight decay": {"train.optimizer.weightDecay": 0.5},
    "optimizer": {"train.optimizer.type": "adamw_bf16"},
    "schedule": {"train.schedule": {"type": "cosine"}},
    "warm-up": {"train.schedule": {"warmupSteps": 3}},
    "batch size": {"train.batchSize": 1},
    "accumulation": {"train.gradientAccumulationSteps": 2},
    "clip": {"train.maxGradNorm": 0.001, "train.optimizer.epsilon": 1.0},
    "clip by value": {"train.gradClipMethod": "value", "train.maxGradNorm": 0.0001, "train.optimizer.epsilon": 1.0},
    "prediction": {"train.predictionType": "v_prediction"},
    "zero snr": {"train.predictionType": "v_prediction", "train.rescaleBetasZeroSnr": True},
    "loss": {"train.loss": {"type": "huber"}},
    "huber c": {"train.loss": {"type": "huber", "huberC": 0.5}},
    "huber schedule": {"train.loss": {"type": "huber", "huberSchedule": "constant"}},
    "smooth l1": {"train.loss": {"type": "smooth_l1"}},
    "min-SNR": {"train.loss": {"snrGamma": 0.1}},
    "noise offset": {"train.noise": {"offset": 0.1, "offsetProbability": 1}},
    "perturbation": {"train.noise": {"inputPerturbation": 0.1}},
    "timesteps": {"train.timesteps": {"biasStrategy": "high_noise", "biasMultiplier": 100}},
    "caption dropout": {"train.captionDropoutProbability": 1},
    "time ids of dropped captions": {"train.captionDropoutProbability": 1, "train.captionDropoutTimeIds": False},
    "remainder": {"train.remainder": "fill"},
    "sampled once": {"embed.vae.sample": "once"},
    "repeats": {"datasets[0].repeats": 3},
    "original size": {"datasets[0].originalSize": "resized"},
    "precision": {"train.mixedPrecision": "bf16"},
    "full": {"train.lora": None, "train.type": "full"},
}


def test_every_setting_takes_effect(place: Place) -> None:
    """No two of these settings, nor any of them and none, train the same weights."""
    seen = {place.weights(place.trained(a_run(train={**BASE, "maxSteps": 5}))): "none"}
    for name, changes in SETTINGS.items():
        weights = place.weights(place.trained(a_run({"train.maxSteps": 5, "train.batchSize": 2, **changes})))
        assert weights not in seen, f"{name} trains the same weights as {seen[weights]}"
        seen[weights] = name


@pytest.mark.parametrize(
    "changes", [{"train.gradientCheckpointing": False}, {"train.checkpoint": {"everySteps": 1}}, {"embed.vae.batchSize": 1}]
)
def test_settings_of_speed_and_place_keep_the_name(place: Place, changes: dict[str, Any]) -> None:
    assert place.trained(a_run(changes)) == place.trained(a_run())


@pytest.mark.parametrize("mode", ["on-demand", "disabled"])
def test_encoding_in_the_training_gives_what_encoding_before_gives(place: Place, mode: str) -> None:
    eager = a_run({"embed.vae.batchSize": 1, "embed.vae.precision": "fp32"})
    lazy = a_run({"embed.vae": {"cache": mode, "precision": "fp32"}, "embed.text": {"cache": mode}})
    ctx = place.context()
    training = place.trained(eager)
    other = Place(place.base)
    found = other.trained(lazy, other.context())
    assert [row["loss"] for row in other.history(found)] == pytest.approx([row["loss"] for row in place.history(training)], rel=1e-4)
    kept = [info.key for info in other.store.list("latents/")]
    assert bool(kept) == (mode == "on-demand")
    assert ctx.work["imagesEncoded"] == 0


def test_on_demand_encodes_what_it_sees_and_keeps_it(place: Place) -> None:
    run = a_run({"embed.vae.cache": "on-demand", "train.maxSteps": 1, "train.batchSize": 2})
    ctx = place.context()
    place.trained(run, ctx)
    assert 0 < ctx.work["imagesEncoded"] <= 10
    again = place.context()
    place.trained(
        a_run({"embed.vae.cache": "on-demand", "train.maxSteps": 1, "train.batchSize": 2, "train.optimizer.learningRate": 0.5}), again
    )
    assert again.work["imagesEncoded"] == 0


def test_another_learning_rate_encodes_nothing(place: Place) -> None:
    place.trained(a_run())
    ctx = place.context()
    place.trained(a_run({"train.optimizer.learningRate": 0.5}), ctx)
    assert (ctx.work["captionsEncoded"], ctx.work["imagesEncoded"], ctx.work["imagesRead"], ctx.work["stepsTrained"]) == (0, 0, 0, 2)


def test_a_loss_that_is_not_finite_names_step_and_pictures(place: Place) -> None:
    run = a_run(
        {"train.optimizer.learningRate": 10.0, "train.maxGradNorm": 0, "train.maxSteps": 60, "train.type": "full", "train.lora": None}
    )
    with pytest.raises(TrainingError, match=r"loss of step \d+ is .*picture"):
        place.trained(run)
    saved = [info.key for info in place.store.list("checkpoint/") if info.key.endswith("unet.safetensors")]
    assert all(torch.isfinite(tensor).all() for key in saved for tensor in load(place.store.get(key)).values())


def test_a_target_that_matches_nothing_is_named(place: Place) -> None:
    with pytest.raises(SpecError, match=r"spec\.train\.lora\.targets\[1\].*to_nothing"):
        place.trained(a_run({"train.lora.targets": ["to_q", "to_nothing"]}))


def test_dropping_all_remainders_is_refused_where_nothing_is_left(place: Place) -> None:
    with pytest.raises(SpecError, match=r"spec\.train\.remainder"):
        place.trained(a_run({"train.remainder": "drop", "train.batchSize": 50}))


def test_epochs_count_all_batches(place: Place) -> None:
    training = place.trained(a_run({"train.maxSteps": None, "train.epochs": 2, "train.gradientAccumulationSteps": 3}))
    rows = place.history(training)
    assert {row["epoch"] for row in rows} == {1, 2}
    assert len(rows) % 2 == 0


def test_the_index_tells_what_evaluate_needs(place: Place) -> None:
    training = place.trained(a_run(train={**BASE, "lora": {"rank": 2, "alpha": 4}}))
    index = json.loads(place.store.get(training.key("index.json")))
    assert [row["step"] for row in index["steps"]] == [3, 6]
    assert (index["weights"], index["adapter"]["alpha"], index["source"]["noun"]) == ("adapter", 4.0, "cache")
