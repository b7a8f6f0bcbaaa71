"""SimpleTuner's keys that have no field here: the values at which nothing is lost, and otherwise why not and what to do.

A name that ends in `*` stands for all keys that begin so.
"""

from __future__ import annotations

from typing import Final

from kubetuner.spec.simpletuner.source import Settled

_OFF = (False, 0, "none", "no")
_LATER = "not in KubeTuner yet; leave it out"
_SPEED = Settled(reason="", always=True)
_STORE = Settled(reason="", always=True)
_UPLOAD = Settled(reason="nothing is uploaded or tracked; the outputs are files of --out", harmless=_OFF)
_CAPTIONS = Settled(reason="captions come from file names, .txt files or instance prompts; write them so")
_WINDOW = "a dataset takes part in the whole run; make two runs, or give the dataset a probability"

CONFIG: Final[dict[str, Settled]] = {
    # Adapters and models that are not there.
    "use_dora": Settled(reason=f"DoRA is {_LATER}: the run trains a plain LoRA", harmless=_OFF),
    "lora_init_type": Settled(reason="the adapter always starts from PEFT's default (A random, B zero)", harmless=("default",)),
    "peft_lora_mode": Settled(reason=f"other modes than standard are {_LATER}", harmless=("standard",)),
    "singlora_ramp_up_steps": _SPEED,
    "lora_format": Settled(reason="", always=True),  # both layouts are always written
    "init_lora*": Settled(reason=f"starting from a LoRA file is {_LATER}"),
    "lycoris_config": Settled(reason="LyCORIS is not in KubeTuner: the run trains a plain LoRA"),
    "init_lokr_norm": Settled(reason="LyCORIS is not in KubeTuner"),
    "slider_lora_target": Settled(reason=f"slider targets are {_LATER}", harmless=_OFF),
    "controlnet*": Settled(reason=f"ControlNet is {_LATER}", harmless=_OFF),
    "control": Settled(reason=f"ControlNet is {_LATER}", harmless=_OFF),
    "refiner_training*": Settled(reason="the refiner is not trained here", harmless=(*_OFF, 0.2)),
    "sdxl_*": Settled(reason="", always=True),
    "train_text_encoder": Settled(reason="the text encoders are never trained", harmless=_OFF),
    "text_encoder_lr": _SPEED,
    "layer_freeze_strategy": Settled(reason="all weights are trained", harmless=("none",)),
    "tread_config": Settled(reason=f"token routing is {_LATER}"),
    "distillation*": Settled(reason=f"distillation is {_LATER}", harmless=_OFF),
    "diff2flow*": Settled(reason=f"Diff2Flow is {_LATER}", harmless=_OFF),
    "flow_*": Settled(reason="flow matching is not for SDXL here; the key has no effect on epsilon and v-prediction", always=True),
    "scheduled_sampling_max_step_offset": Settled(reason=f"scheduled sampling is {_LATER}", harmless=_OFF),
    "scheduled_sampling_*": _SPEED,
    "masked_loss_probability": _SPEED,
    # Precision and memory.
    "base_model_precision": Settled(reason=f"quantised base weights are {_LATER}: the run keeps full ones", harmless=("no_change",)),
    "text_encoder_*": Settled(reason="the text encoders stay in their own precision", harmless=("no_change",)),
    "quantize_via": _SPEED,
    "quantize_activations": Settled(reason=f"quantisation is {_LATER}", harmless=_OFF),
    "base_model_default_dtype": Settled(reason="set train.mixedPrecision", harmless=("bf16",)),
    "gradient_precision": Settled(reason="gradients are accumulated in fp32", harmless=("unmodified", "fp32")),
    "gradient_checkpointing_interval": _SPEED,
    "attention_mechanism": _SPEED,
    "sageattention*": Settled(reason="attention is PyTorch's", harmless=_OFF),
    "fuse_qkv_projections": _SPEED,
    "unet_attention_slice": _SPEED,
    "enable_*": _SPEED,
    "disable_tf32": _SPEED,
    "allow_tf32": _SPEED,
    "vae_enable_*": _SPEED,
    "offload_*": _SPEED,
    "group_offload*": _SPEED,
    "ramtorch*": _SPEED,
    "musubi_*": _SPEED,
    "keep_vae_loaded": _SPEED,
    "delete_model_after_load": _SPEED,
    "set_grads_to_none": _SPEED,
    "dynamo_*": _SPEED,
    "compile_*": _SPEED,
    "optimizer_release_gradients": Settled(reason=f"releasing gradients in the backward pass is {_LATER}", harmless=_OFF),
    "optimizer_cpu_offload_method": Settled(reason=f"offloading the optimizer is {_LATER}", harmless=_OFF),
    "optimizer_offload_gradients": _SPEED,
    "fsdp_*": Settled(reason="how a run is divided over devices is the cluster's business", harmless=_OFF),
    "deepspeed_config": Settled(reason="how a run is divided over devices is the cluster's business"),
    # Schedule and data.
    "lr_scale": Settled(reason="the learning rate is as written; multiply it by devices x accumulation x batch yourself", harmless=_OFF),
    "lr_scale_sqrt": Settled(reason="the learning rate is as written; multiply it yourself", harmless=_OFF),
    "snr_weight": Settled(reason="min-SNR weights are not scaled; scale the learning rate", harmless=(1,)),
    "use_soft_min_snr": Settled(reason="", always=True),  # has no effect there
    "soft_min_snr_sigma_data": Settled(reason="", always=True),
    "input_perturbation_steps": Settled(reason="input perturbation does not fade; it is the same in every step", harmless=_OFF),
    "seed_for_each_device": Settled(reason="", always=True),  # every draw is named by its sample, whatever the device
    "disable_segmented_timestep_sampling": Settled(reason="timesteps are drawn one by one, not by segments of the batch", harmless=(True,)),
    "training_scheduler_timestep_spacing": _SPEED,  # training draws from all timesteps
    "inference_scheduler_timestep_spacing": Settled(reason="the sampler spaces timesteps as the model says", harmless=("trailing",)),
    "strict_epoch_limit": _SPEED,
    "ignore_final_epochs": _SPEED,
    "data_backend_sampling": Settled(reason="datasets are weighted by their batches; set probability", harmless=("auto-weighting",)),
    "allow_dataset_oversubscription": _SPEED,  # a small bucket never stops a run
    "disable_bucket_pruning": _SPEED,
    "aspect_bucket_rounding": Settled(reason="aspects are rounded to 2 decimals", harmless=(2,)),
    "aspect_bucket_alignment": Settled(reason="SDXL's sizes are multiples of 64", harmless=(64,)),
    "aspect_bucket_disable_rebuild": Settled(reason="", always=True),  # crops and aspects are drawn once for a run
    "aspect_bucket_worker_count": _SPEED,
    "vae_cache_clear_each_epoch": Settled(reason="every picture keeps one crop for the run", harmless=_OFF),
    "only_instance_prompt": Settled(reason="set captionStrategy: instanceprompt on the dataset", harmless=_OFF),
    "caption_dropout_strategy": _SPEED,
    "conditioning_*": Settled(reason=f"conditioning is {_LATER}"),
    "nsfw*": Settled(reason="pictures are not classified", harmless=_OFF),
    # Bookkeeping.
    "cache_*": _STORE,
    "compress_disk_cache": _STORE,
    "preserve_data_backend_cache": _STORE,
    "override_dataset_config": _STORE,
    "skip_file_discovery": _STORE,
    "scan_for_errors": _STORE,
    "vae_cache_scan_behaviour": _STORE,
    "hash_filenames": _STORE,
    "metadata_update_interval": _STORE,
    "read_batch_size": _STORE,
    "image_processing_batch_size": _STORE,
    "write_threads": _STORE,
    "enable_multiprocessing": _STORE,
    "dataloader_*": _STORE,
    "max_workers": _STORE,
    "torch_num_threads": _STORE,
    "logging_dir": _STORE,
    "print_*": _STORE,
    "delete_unwanted_images": Settled(reason="sources are never written to; unused pictures are counted with their reason", harmless=_OFF),
    "delete_problematic_images": Settled(reason="sources are never written to", harmless=_OFF),
    "resume_from_checkpoint": Settled(reason="a run always goes on from its own newest state", harmless=("latest",)),
    "checkpoint_epoch_interval": Settled(reason="states are saved by steps: set train.checkpoint.everySteps", harmless=_OFF),
    "checkpointing_rolling_steps": Settled(reason="lower train.checkpoint.everySteps and keep", harmless=_OFF),
    "checkpoints_rolling_total_limit": _STORE,
    "checkpointing_use_tempdir": _STORE,
    "delete_invalid_checkpoints": _STORE,
    "disk_low_*": _STORE,
    "num_processes": Settled(reason="how many devices a run has is not in its file", harmless=(1,)),
    "num_machines": Settled(reason="how many nodes a run has is not in its file", harmless=(1,)),
    "machine_rank": _STORE,
    "main_process_*": _STORE,
    "same_network": _STORE,
    "ddp_*": _STORE,
    "push_*": _UPLOAD,
    "hub_*": Settled(reason="", always=True),
    "model_card_*": _UPLOAD,
    "modelspec_comment": _UPLOAD,
    "publishing_config": _UPLOAD,
    "report_to": _UPLOAD,
    "tracker_*": Settled(reason="", always=True),
    "disable_accelerator": _STORE,
    "webhook_*": Settled(reason="events are not posted anywhere", harmless=_OFF),
    "post_*": Settled(reason="no script is run after a checkpoint or an upload"),
    # Evaluation.
    "validation_step_interval": Settled(
        reason="images are drawn after the training, from its kept checkpoints; train.checkpoint says which"
    ),
    "validation_steps": Settled(reason="images are drawn after the training, from its kept checkpoints; train.checkpoint says which"),
    "validation_epoch_interval": Settled(reason="images are drawn after the training, from its kept checkpoints", harmless=_OFF),
    "validation_on_startup": Settled(reason="", always=True),  # the base model's image always stands beside
    "validate_after_*": _SPEED,
    "validation_disable_unconditional": Settled(reason="no image is drawn for the empty prompt", harmless=(True,)),
    "validation_prompt_library": Settled(
        reason="the built-in prompts are not in KubeTuner; list those you want in evaluate.prompts", harmless=_OFF
    ),
    "validation_preview*": Settled(reason=f"previews of unfinished images are {_LATER}", harmless=(*_OFF, 1)),
    "validation_input": Settled(reason=f"image-to-image validation is {_LATER}"),
    "validation_using_datasets": Settled(reason=f"image-to-image validation is {_LATER}", harmless=_OFF),
    "validation_randomize": Settled(reason="seeds are fixed, so that images compare: set evaluate.seed", harmless=_OFF),
    "validation_seed_source": Settled(reason="noise is drawn on the CPU", harmless=("cpu",)),
    "validation_method": Settled(reason="validation by a script of your own is not run", harmless=("simpletuner-local",)),
    "validation_external_*": Settled(reason="validation by a script of your own is not run"),
    "validation_adapter_*": Settled(reason=f"other adapters beside the trained one are {_LATER}", harmless=_OFF),
    "validation_lycoris_strength": _SPEED,
    "validation_torch_compile*": _SPEED,
    "validation_multigpu": _SPEED,
    "validation_image_format": _SPEED,
    "disable_benchmark": Settled(reason="the base model's image is always drawn beside", harmless=_OFF),
    "evaluation_type": Settled(reason=f"CLIP scores are {_LATER}", harmless=("none",)),
    "pretrained_evaluation_model_name_or_path": _SPEED,
    "eval_steps_interval": Settled(
        reason="the evaluation loss is measured for every kept checkpoint; train.checkpoint says which", harmless=_OFF
    ),
    "eval_epoch_interval": Settled(
        reason="the evaluation loss is measured for every kept checkpoint; train.checkpoint says which", harmless=_OFF
    ),
    "eval_dataset_id": Settled(reason="every dataset with datasetType eval is measured; disable those you do not want"),
    "eval_dataset_pooling": Settled(reason="the loss is told for each dataset", harmless=_OFF),
    "ema_device": _SPEED,
    "ema_cpu_only": _SPEED,
    "ema_foreach_disable": _SPEED,
    "ema_validation": Settled(reason="with an average on, the average is what is drawn and exported", harmless=("ema_only",)),
}
"""Keys of config.json."""

DATASET: Final[dict[str, Settled]] = {
    "cache_dir*": _STORE,
    "cache_file_suffix": _STORE,
    "compress_cache": _STORE,
    "hash_filenames": _STORE,
    "image_embeds": _STORE,
    "default": _STORE,
    "skip_file_discovery": _STORE,
    "preserve_data_backend_cache": _STORE,
    "scan_for_errors": _STORE,
    "metadata_backend": Settled(reason="sizes are read from the pictures themselves", harmless=("discovery", "json", "filesystem")),
    "read_batch_size": _STORE,
    "write_batch_size": _STORE,
    "image_processing_batch_size": _STORE,
    "vae_batch_size": Settled(reason="set embed.vae.batchSize for the whole run"),
    "text_encoder_batch_size": Settled(reason="set embed.text.batchSize for the whole run"),
    "vae_cache_ondemand": Settled(reason="set embed.vae.cache for the whole run", harmless=_OFF),
    "vae_cache_disable": Settled(reason="set embed.vae.cache for the whole run", harmless=_OFF),
    "text_cache_ondemand": Settled(reason="set embed.text.cache for the whole run", harmless=_OFF),
    "text_cache_disable": Settled(reason="set embed.text.cache for the whole run", harmless=_OFF),
    "vae_cache_clear_each_epoch": Settled(reason="every picture keeps one crop for the run", harmless=_OFF),
    "delete_unwanted_images": Settled(reason="sources are never written to; unused pictures are counted with their reason", harmless=_OFF),
    "delete_problematic_images": Settled(reason="sources are never written to", harmless=_OFF),
    "start_epoch": Settled(reason=_WINDOW, harmless=(0, 1)),
    "start_step": Settled(reason=_WINDOW, harmless=(0, 1)),
    "end_epoch": Settled(reason=_WINDOW),
    "end_step": Settled(reason=_WINDOW),
    "disable_after_epoch_step": Settled(reason=_WINDOW),
    "slider_strength": Settled(reason=f"slider LoRAs are {_LATER}"),
    "is_regularisation_data": Settled(reason=f"prior preservation is {_LATER}: the dataset is trained on like any other", harmless=_OFF),
    "conditioning*": Settled(reason=f"conditioning is {_LATER}"),
    "caption_shuffle": Settled(reason=f"shuffled captions are {_LATER}; write the variants as lines of a .txt file"),
    "parquet": _CAPTIONS,
    "csv_*": _CAPTIONS,
    "huggingface": _CAPTIONS,
    "nsfw*": Settled(reason="pictures are not classified", harmless=_OFF),
    "delete_nsfw_images": Settled(reason="pictures are not classified", harmless=_OFF),
    "aws_*": Settled(reason="addresses and keys of a store are not in the run's file; give them in the environment or a Secret"),
    "text_embeds": _STORE,
    "video": _STORE,
}
"""Keys of an entry of the data backends."""
