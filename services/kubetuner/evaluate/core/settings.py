"""A run in kohya's words, for the `ss_*` keys of a LoRA's header that tools and people read."""

from __future__ import annotations

from kubetuner.artifacts.manifest import Manifest
from kubetuner.artifacts.objects import Json
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec


def kohya(spec: TrainingRunSpec, training: Json, manifest: Manifest, model: Json, model_name: str) -> dict[str, object]:
    """kohya's keys without `ss_`; None where a thing is switched off.

    `model` holds the digest of each part of the base model, `model_name` is what people call it.
    """
    train, optimizer = spec.train, spec.train.optimizer
    adapter = training.get("adapter") or {"dropout": 0}
    huber = train.loss.type != "l2"
    return {
        "seed": spec.seed,
        "steps": training["steps"][-1]["step"],
        "max_train_steps": training["steps"][-1]["step"],
        "num_train_images": manifest.used("image").num_rows,
        "num_validation_images": manifest.used("eval").num_rows,
        "learning_rate": f"{optimizer.learning_rate:g}",
        "unet_lr": f"{optimizer.learning_rate:g}",
        "lr_scheduler": train.schedule.type,
        "lr_warmup_steps": train.schedule.warmup_steps,
        "optimizer": optimizer.type,
        "max_grad_norm": f"{train.max_grad_norm:g}",
        "network_dropout": f"{adapter['dropout']:g}" if adapter["dropout"] else None,
        "batch_size_per_device": train.batch_size,
        "gradient_accumulation_steps": train.gradient_accumulation_steps,
        "gradient_checkpointing": train.gradient_checkpointing,
        "mixed_precision": train.mixed_precision,
        "caption_dropout_rate": f"{train.caption_dropout_probability:g}",
        "noise_offset": f"{train.noise.offset:g}" if train.noise.offset else None,
        "ip_noise_gamma": f"{train.noise.input_perturbation:g}" if train.noise.input_perturbation else None,
        "min_snr_gamma": f"{train.loss.snr_gamma:g}" if train.loss.snr_gamma else None,
        "loss_type": train.loss.type,
        "huber_c": f"{train.loss.huber_c:g}" if huber else None,
        "huber_schedule": train.loss.huber_schedule if huber else None,
        "zero_terminal_snr": train.rescale_betas_zero_snr,
        "sd_model_name": model_name,
        "new_sd_model_hash": model["unet"],
        "new_vae_hash": model["vae"],
        "enable_bucket": True,
    }
