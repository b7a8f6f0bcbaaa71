"""config.json's keys for model, caches and training as parts of a run's spec, with SimpleTuner's defaults where ours differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from kubetuner.errors import InputError
from kubetuner.spec.simpletuner.source import Keys, located

Json = dict[str, Any]

_OPTIMIZERS: Final = {"adamw_bf16": "adamw_bf16", "torch-adamw": "adamw"}
_BIAS: Final = {"none": "none", "earlier": "low_noise", "later": "high_noise", "range": "range"}
_PRECISION: Final = {"bf16": "bf16", "fp16": "fp16", "no": "fp32", "fp32": "fp32"}
_VAE: Final = "madebyollin/sdxl-vae-fp16-fix"


def model(keys: Keys, base: Path) -> Json:
    """`spec.model`; `base` is where relative paths start."""
    family = keys.text("model_family")
    if family != "sdxl":
        raise InputError(f"{keys.place}: model_family: {family or 'nothing'} given; KubeTuner trains sdxl")
    flavour = keys.text("model_flavour")
    if flavour is not None and flavour.startswith("refiner"):
        raise InputError(f"{keys.place}: model_flavour: {flavour} given; KubeTuner trains base-1.0 and base-0.9, not the refiner")
    path, vae = keys.text("pretrained_model_name_or_path"), keys.text("pretrained_vae_model_name_or_path", "vae_path")
    found: Json = {"family": "sdxl", "flavour": flavour, "path": located(base, path) if path else None}
    for name in ("revision", "variant"):
        value = keys.text(name)
        if value is not None and (path or "").endswith(".safetensors"):
            keys.refuse(name, f"{value} given; a single .safetensors file has no {name}")
        else:
            found[name] = value
    found["vae"] = {"path": located(base, vae) if vae else _VAE}
    return found


def embed(keys: Keys) -> Json:
    """`spec.embed`, without the text cache's write batch, which stands in the data backends."""
    vae: Json = {"cache": _cache(keys, "vae"), "batchSize": keys.whole("vae_batch_size"), "sample": "once", "precision": "bf16"}
    dtype = keys.text("vae_dtype")
    if dtype is not None:
        vae["precision"] = {"default": "bf16"}.get(dtype, dtype)
    text = {
        "cache": _cache(keys, "text"),
        "batchSize": keys.whole("text_encoder_batch_size"),
        "writeBatchSize": keys.whole("write_batch_size"),
    }
    return {"text": text, "vae": vae}


def train(keys: Keys) -> Json:
    """`spec.train`."""
    kind = keys.text("model_type") or "full"
    precision = keys.text("mixed_precision") or "bf16"
    if precision not in _PRECISION:
        keys.refuse("mixed_precision", f"{precision} given; bf16, fp16 and fp32 are possible, and the run says bf16")
    found: Json = {
        "type": kind,
        "lora": _lora(keys, kind),
        "optimizer": _optimizer(keys),
        "schedule": _schedule(keys),
        "batchSize": keys.whole("train_batch_size"),
        "gradientAccumulationSteps": keys.whole("gradient_accumulation_steps"),
        "remainder": "fill",
        **_length(keys),
        "mixedPrecision": _PRECISION.get(precision, "bf16"),
        "gradientCheckpointing": keys.flag("gradient_checkpointing", "use_gradient_checkpointing"),
        "maxGradNorm": keys.number("max_grad_norm", default=2.0),
        "gradClipMethod": keys.text("grad_clip_method") or "value",
        "predictionType": _prediction(keys),
        "loss": _loss(keys),
        "noise": _noise(keys),
        "timesteps": _timesteps(keys),
        "captionDropoutProbability": keys.number("caption_dropout_probability", default=0.1),
        "captionDropoutTimeIds": True,
        "ema": _ema(keys),
        "checkpoint": {
            "everySteps": keys.whole("checkpoint_step_interval", "checkpointing_steps", default=500),
            "keep": keys.whole("checkpoints_total_limit", default=5),
        },
    }
    if found["optimizer"]["type"] == "adamw_bf16" and found["mixedPrecision"] == "fp16":
        keys.refuse("optimizer", "adamw_bf16 does not go with mixed_precision fp16 here; the run says adamw")
        found["optimizer"]["type"] = "adamw"
    if keys.flag("rescale_betas_zero_snr"):
        if found["predictionType"] == "v_prediction":
            found["rescaleBetasZeroSnr"] = True
        else:
            keys.refuse(
                "rescale_betas_zero_snr", "true given without prediction_type v_prediction, which cannot learn the last timestep; left off"
            )
    return found


def _cache(keys: Keys, kind: str) -> str | None:
    on_demand, disabled = keys.flag(f"{kind}_cache_ondemand"), keys.flag(f"{kind}_cache_disable")
    return "disabled" if disabled else "on-demand" if on_demand else None


def _lora(keys: Keys, kind: str) -> Json | None:
    rank, alpha, dropout = keys.whole("lora_rank"), keys.number("lora_alpha"), keys.number("lora_dropout")
    targets = keys.take("peft_lora_target_modules")
    adapter = keys.text("lora_type") or "standard"
    if adapter != "standard":
        keys.refuse("lora_type", f"{adapter} given; LyCORIS is not in KubeTuner: the run trains a plain LoRA")
    if kind != "lora":
        return None  # they say nothing about a full fine-tune, there as here
    if isinstance(targets, str):
        targets = _list_in(keys, targets)
    return {"rank": _or(rank, 16), "alpha": alpha, "dropout": _or(dropout, 0.1), "targets": targets}


def _list_in(keys: Keys, text: str) -> list[str] | None:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list):
        keys.refuse("peft_lora_target_modules", "not a JSON list; write the names into train.lora.targets")
        return None
    return [str(item) for item in found]


def _optimizer(keys: Keys) -> Json:
    name = keys.text("optimizer") or "adamw_bf16"
    if name not in _OPTIMIZERS:
        keys.refuse("optimizer", f"{name} given; KubeTuner has adamw and adamw_bf16: the run says adamw. Check its learning rate")
    found: Json = {"type": _OPTIMIZERS.get(name, "adamw"), "learningRate": keys.number("learning_rate", default=4e-7)}
    for ours, theirs in (("beta1", "beta1"), ("beta2", "beta2"), ("epsilon", "epsilon"), ("weightDecay", "weight_decay")):
        found[ours] = keys.number(f"optimizer_{theirs}", f"adam_{theirs}")
    text = keys.text("optimizer_config")
    for part in [part.strip() for part in (text or "").split(",") if part.strip()]:
        option, _, value = part.partition("=")
        field = {"beta1": "beta1", "beta2": "beta2", "eps": "epsilon", "epsilon": "epsilon", "weight_decay": "weightDecay"}.get(
            option.strip()
        )
        if field is None:
            keys.refuse("optimizer_config", f"{part} given; beta1, beta2, eps and weight_decay are carried")
            continue
        try:
            found[field] = float(value)
        except ValueError:
            raise keys.wrong("optimizer_config", part, "name=number is expected") from None
    return found


def _schedule(keys: Keys) -> Json:
    name = keys.text("lr_scheduler") or "constant_with_warmup"
    warmup, power, end, cycles = keys.whole("lr_warmup_steps"), keys.number("lr_power"), keys.number("lr_end"), keys.whole("lr_num_cycles")
    found: Json = {"type": name, "warmupSteps": warmup}
    if name == "constant":
        found["warmupSteps"] = None  # it reads none, there as here
    elif name == "polynomial":
        found |= {"power": _or(power, 0.8), "endLearningRate": _or(end, 4e-7)}
    elif name == "cosine_with_restarts":
        found["cycles"] = cycles
    elif name in ("sine", "cosine"):
        keys.refuse(
            "lr_scheduler",
            f"{name} given, which there swings with a period of lr_warmup_steps; the run falls once, over all steps after warm-up",
        )
        found["type"] = "cosine"
    return found


def _length(keys: Keys) -> Json:
    steps, epochs = keys.whole("max_train_steps") or 0, keys.whole("num_train_epochs") or 0
    if steps > 0 and epochs > 0:
        raise InputError(f"{keys.place}: max_train_steps: {steps} and num_train_epochs: {epochs} given; set one of the two to 0")
    if steps <= 0 and epochs <= 0:
        raise InputError(f"{keys.place}: neither max_train_steps nor num_train_epochs is above 0; set one of the two")
    return {"maxSteps": steps} if steps > 0 else {"epochs": epochs}


def _prediction(keys: Keys) -> str | None:
    name = keys.text("prediction_type")
    if name in (None, "epsilon", "v_prediction"):
        return name
    keys.refuse("prediction_type", f"{name} given; epsilon and v_prediction are possible, and the run says what the model does")
    return None


def _loss(keys: Keys) -> Json:
    kind = keys.text("loss_type") or "l2"
    width, schedule = keys.number("huber_c"), keys.text("huber_schedule")
    found: Json = {"type": kind, "snrGamma": keys.number("snr_gamma")}
    return found if kind == "l2" else found | {"huberC": width, "huberSchedule": schedule}


def _noise(keys: Keys) -> Json:
    on, offset, share = keys.flag("offset_noise"), keys.number("noise_offset"), keys.number("noise_offset_probability")
    found: Json = {"inputPerturbation": keys.number("input_perturbation")}
    return found | {"offset": _or(offset, 0.1), "offsetProbability": _or(share, 0.25)} if on else found


def _timesteps(keys: Keys) -> Json:
    name = keys.text("timestep_bias_strategy") or "none"
    multiplier, portion = keys.number("timestep_bias_multiplier"), keys.number("timestep_bias_portion")
    begin, end = keys.whole("timestep_bias_begin"), keys.whole("timestep_bias_end")
    found: Json = {"biasStrategy": _BIAS.get(name, name)}
    if name != "none":
        found["biasMultiplier"] = multiplier
    if name in ("earlier", "later"):
        found["biasPortion"] = portion
    return found | {"biasBegin": begin, "biasEnd": end} if name == "range" else found


def _ema(keys: Keys) -> Json | None:
    on, decay = keys.flag("use_ema"), keys.number("ema_decay")
    interval, warmup = keys.whole("ema_update_interval"), keys.whole("ema_warmup_steps")
    return {"decay": _or(decay, 0.995), "updateInterval": interval, "warmupSteps": warmup} if on else None


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
