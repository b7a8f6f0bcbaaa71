import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from kubetuner.v1alpha1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainingRun(_message.Message):
    __slots__ = ("api_version", "kind", "metadata", "spec", "status")
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    api_version: str
    kind: str
    metadata: Metadata
    spec: TrainingRunSpec
    status: TrainingRunStatus
    def __init__(self, api_version: _Optional[str] = ..., kind: _Optional[str] = ..., metadata: _Optional[_Union[Metadata, _Mapping]] = ..., spec: _Optional[_Union[TrainingRunSpec, _Mapping]] = ..., status: _Optional[_Union[TrainingRunStatus, _Mapping]] = ...) -> None: ...

class Metadata(_message.Message):
    __slots__ = ("name", "namespace", "labels", "annotations")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    namespace: str
    labels: _containers.ScalarMap[str, str]
    annotations: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., namespace: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., annotations: _Optional[_Mapping[str, str]] = ...) -> None: ...

class TrainingRunSpec(_message.Message):
    __slots__ = ("seed", "model", "datasets", "embed", "train", "evaluate", "suspend", "cancel", "managed_by", "queue", "compute")
    SEED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    EMBED_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_FIELD_NUMBER: _ClassVar[int]
    SUSPEND_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    MANAGED_BY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    seed: int
    model: Model
    datasets: _containers.RepeatedCompositeFieldContainer[Dataset]
    embed: Embed
    train: Train
    evaluate: Evaluate
    suspend: bool
    cancel: bool
    managed_by: str
    queue: str
    compute: Compute
    def __init__(self, seed: _Optional[int] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., datasets: _Optional[_Iterable[_Union[Dataset, _Mapping]]] = ..., embed: _Optional[_Union[Embed, _Mapping]] = ..., train: _Optional[_Union[Train, _Mapping]] = ..., evaluate: _Optional[_Union[Evaluate, _Mapping]] = ..., suspend: _Optional[bool] = ..., cancel: _Optional[bool] = ..., managed_by: _Optional[str] = ..., queue: _Optional[str] = ..., compute: _Optional[_Union[Compute, _Mapping]] = ...) -> None: ...

class Compute(_message.Message):
    __slots__ = ("priority_class_name", "active_deadline_seconds", "ttl_seconds_after_finished", "retries", "scheduler_name", "ingest", "embed", "train", "evaluate")
    PRIORITY_CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_AFTER_FINISHED_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    SCHEDULER_NAME_FIELD_NUMBER: _ClassVar[int]
    INGEST_FIELD_NUMBER: _ClassVar[int]
    EMBED_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_FIELD_NUMBER: _ClassVar[int]
    priority_class_name: str
    active_deadline_seconds: int
    ttl_seconds_after_finished: int
    retries: int
    scheduler_name: str
    ingest: StageCompute
    embed: StageCompute
    train: StageCompute
    evaluate: StageCompute
    def __init__(self, priority_class_name: _Optional[str] = ..., active_deadline_seconds: _Optional[int] = ..., ttl_seconds_after_finished: _Optional[int] = ..., retries: _Optional[int] = ..., scheduler_name: _Optional[str] = ..., ingest: _Optional[_Union[StageCompute, _Mapping]] = ..., embed: _Optional[_Union[StageCompute, _Mapping]] = ..., train: _Optional[_Union[StageCompute, _Mapping]] = ..., evaluate: _Optional[_Union[StageCompute, _Mapping]] = ...) -> None: ...

class StageCompute(_message.Message):
    __slots__ = ("resources", "node_selector", "tolerations", "affinity", "runtime_class_name", "shm_size", "nodes", "shards")
    class NodeSelectorEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    NODE_SELECTOR_FIELD_NUMBER: _ClassVar[int]
    TOLERATIONS_FIELD_NUMBER: _ClassVar[int]
    AFFINITY_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SHM_SIZE_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    resources: Resources
    node_selector: _containers.ScalarMap[str, str]
    tolerations: _containers.RepeatedCompositeFieldContainer[Toleration]
    affinity: Affinity
    runtime_class_name: str
    shm_size: str
    nodes: int
    shards: int
    def __init__(self, resources: _Optional[_Union[Resources, _Mapping]] = ..., node_selector: _Optional[_Mapping[str, str]] = ..., tolerations: _Optional[_Iterable[_Union[Toleration, _Mapping]]] = ..., affinity: _Optional[_Union[Affinity, _Mapping]] = ..., runtime_class_name: _Optional[str] = ..., shm_size: _Optional[str] = ..., nodes: _Optional[int] = ..., shards: _Optional[int] = ...) -> None: ...

class Resources(_message.Message):
    __slots__ = ("cpu", "memory", "gpus", "gpu_resource", "resource_claims")
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    GPU_RESOURCE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_CLAIMS_FIELD_NUMBER: _ClassVar[int]
    cpu: str
    memory: str
    gpus: int
    gpu_resource: str
    resource_claims: _containers.RepeatedCompositeFieldContainer[ResourceClaim]
    def __init__(self, cpu: _Optional[str] = ..., memory: _Optional[str] = ..., gpus: _Optional[int] = ..., gpu_resource: _Optional[str] = ..., resource_claims: _Optional[_Iterable[_Union[ResourceClaim, _Mapping]]] = ...) -> None: ...

class ResourceClaim(_message.Message):
    __slots__ = ("name", "resource_claim_name", "resource_claim_template_name")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_CLAIM_NAME_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_CLAIM_TEMPLATE_NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    resource_claim_name: str
    resource_claim_template_name: str
    def __init__(self, name: _Optional[str] = ..., resource_claim_name: _Optional[str] = ..., resource_claim_template_name: _Optional[str] = ...) -> None: ...

class Toleration(_message.Message):
    __slots__ = ("key", "operator", "value", "effect", "toleration_seconds")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    TOLERATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    key: str
    operator: str
    value: str
    effect: str
    toleration_seconds: int
    def __init__(self, key: _Optional[str] = ..., operator: _Optional[str] = ..., value: _Optional[str] = ..., effect: _Optional[str] = ..., toleration_seconds: _Optional[int] = ...) -> None: ...

class Affinity(_message.Message):
    __slots__ = ("required", "preferred")
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_FIELD_NUMBER: _ClassVar[int]
    required: _containers.RepeatedCompositeFieldContainer[NodeRequirement]
    preferred: _containers.RepeatedCompositeFieldContainer[NodeRequirement]
    def __init__(self, required: _Optional[_Iterable[_Union[NodeRequirement, _Mapping]]] = ..., preferred: _Optional[_Iterable[_Union[NodeRequirement, _Mapping]]] = ...) -> None: ...

class NodeRequirement(_message.Message):
    __slots__ = ("key", "operator", "values")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    key: str
    operator: str
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, key: _Optional[str] = ..., operator: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("family", "flavour", "path", "variant", "revision", "vae", "config", "secret")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    FLAVOUR_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    VAE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    family: str
    flavour: str
    path: str
    variant: str
    revision: str
    vae: Vae
    config: str
    secret: str
    def __init__(self, family: _Optional[str] = ..., flavour: _Optional[str] = ..., path: _Optional[str] = ..., variant: _Optional[str] = ..., revision: _Optional[str] = ..., vae: _Optional[_Union[Vae, _Mapping]] = ..., config: _Optional[str] = ..., secret: _Optional[str] = ...) -> None: ...

class Vae(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("id", "disabled", "dataset_type", "source", "resolution", "resolution_type", "minimum_image_size", "maximum_image_size", "target_downsample_size", "minimum_aspect_ratio", "maximum_aspect_ratio", "crop", "crop_aspect", "crop_style", "crop_aspect_buckets", "max_upscale_threshold", "caption_strategy", "instance_prompts", "prepend_instance_prompt", "disable_multiline_split", "caption_filters", "repeats", "probability", "max_num_samples", "original_size")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    DATASET_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_IMAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_IMAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    TARGET_DOWNSAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_ASPECT_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_ASPECT_RATIO_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    CROP_ASPECT_FIELD_NUMBER: _ClassVar[int]
    CROP_STYLE_FIELD_NUMBER: _ClassVar[int]
    CROP_ASPECT_BUCKETS_FIELD_NUMBER: _ClassVar[int]
    MAX_UPSCALE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CAPTION_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    PREPEND_INSTANCE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    DISABLE_MULTILINE_SPLIT_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FILTERS_FIELD_NUMBER: _ClassVar[int]
    REPEATS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    MAX_NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    id: str
    disabled: bool
    dataset_type: str
    source: Source
    resolution: float
    resolution_type: str
    minimum_image_size: float
    maximum_image_size: float
    target_downsample_size: float
    minimum_aspect_ratio: float
    maximum_aspect_ratio: float
    crop: bool
    crop_aspect: str
    crop_style: str
    crop_aspect_buckets: _containers.RepeatedCompositeFieldContainer[AspectBucket]
    max_upscale_threshold: float
    caption_strategy: str
    instance_prompts: _containers.RepeatedScalarFieldContainer[str]
    prepend_instance_prompt: bool
    disable_multiline_split: bool
    caption_filters: _containers.RepeatedScalarFieldContainer[str]
    repeats: int
    probability: float
    max_num_samples: int
    original_size: str
    def __init__(self, id: _Optional[str] = ..., disabled: _Optional[bool] = ..., dataset_type: _Optional[str] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., resolution: _Optional[float] = ..., resolution_type: _Optional[str] = ..., minimum_image_size: _Optional[float] = ..., maximum_image_size: _Optional[float] = ..., target_downsample_size: _Optional[float] = ..., minimum_aspect_ratio: _Optional[float] = ..., maximum_aspect_ratio: _Optional[float] = ..., crop: _Optional[bool] = ..., crop_aspect: _Optional[str] = ..., crop_style: _Optional[str] = ..., crop_aspect_buckets: _Optional[_Iterable[_Union[AspectBucket, _Mapping]]] = ..., max_upscale_threshold: _Optional[float] = ..., caption_strategy: _Optional[str] = ..., instance_prompts: _Optional[_Iterable[str]] = ..., prepend_instance_prompt: _Optional[bool] = ..., disable_multiline_split: _Optional[bool] = ..., caption_filters: _Optional[_Iterable[str]] = ..., repeats: _Optional[int] = ..., probability: _Optional[float] = ..., max_num_samples: _Optional[int] = ..., original_size: _Optional[str] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("uri", "secret")
    URI_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    uri: str
    secret: str
    def __init__(self, uri: _Optional[str] = ..., secret: _Optional[str] = ...) -> None: ...

class AspectBucket(_message.Message):
    __slots__ = ("aspect", "weight")
    ASPECT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    aspect: float
    weight: float
    def __init__(self, aspect: _Optional[float] = ..., weight: _Optional[float] = ...) -> None: ...

class Embed(_message.Message):
    __slots__ = ("text", "vae")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VAE_FIELD_NUMBER: _ClassVar[int]
    text: TextCache
    vae: VaeCache
    def __init__(self, text: _Optional[_Union[TextCache, _Mapping]] = ..., vae: _Optional[_Union[VaeCache, _Mapping]] = ...) -> None: ...

class TextCache(_message.Message):
    __slots__ = ("cache", "write_batch_size", "batch_size")
    CACHE_FIELD_NUMBER: _ClassVar[int]
    WRITE_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    cache: str
    write_batch_size: int
    batch_size: int
    def __init__(self, cache: _Optional[str] = ..., write_batch_size: _Optional[int] = ..., batch_size: _Optional[int] = ...) -> None: ...

class VaeCache(_message.Message):
    __slots__ = ("cache", "batch_size", "write_batch_size", "sample", "precision")
    CACHE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    WRITE_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    cache: str
    batch_size: int
    write_batch_size: int
    sample: str
    precision: str
    def __init__(self, cache: _Optional[str] = ..., batch_size: _Optional[int] = ..., write_batch_size: _Optional[int] = ..., sample: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class Train(_message.Message):
    __slots__ = ("type", "lora", "optimizer", "schedule", "batch_size", "gradient_accumulation_steps", "remainder", "max_steps", "epochs", "mixed_precision", "gradient_checkpointing", "max_grad_norm", "grad_clip_method", "prediction_type", "rescale_betas_zero_snr", "loss", "noise", "timesteps", "caption_dropout_probability", "caption_dropout_time_ids", "ema", "checkpoint")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_ACCUMULATION_STEPS_FIELD_NUMBER: _ClassVar[int]
    REMAINDER_FIELD_NUMBER: _ClassVar[int]
    MAX_STEPS_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    MIXED_PRECISION_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    MAX_GRAD_NORM_FIELD_NUMBER: _ClassVar[int]
    GRAD_CLIP_METHOD_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESCALE_BETAS_ZERO_SNR_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    TIMESTEPS_FIELD_NUMBER: _ClassVar[int]
    CAPTION_DROPOUT_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    CAPTION_DROPOUT_TIME_IDS_FIELD_NUMBER: _ClassVar[int]
    EMA_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    type: str
    lora: Lora
    optimizer: Optimizer
    schedule: Schedule
    batch_size: int
    gradient_accumulation_steps: int
    remainder: str
    max_steps: int
    epochs: int
    mixed_precision: str
    gradient_checkpointing: bool
    max_grad_norm: float
    grad_clip_method: str
    prediction_type: str
    rescale_betas_zero_snr: bool
    loss: Loss
    noise: Noise
    timesteps: Timesteps
    caption_dropout_probability: float
    caption_dropout_time_ids: bool
    ema: Ema
    checkpoint: Checkpoint
    def __init__(self, type: _Optional[str] = ..., lora: _Optional[_Union[Lora, _Mapping]] = ..., optimizer: _Optional[_Union[Optimizer, _Mapping]] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., batch_size: _Optional[int] = ..., gradient_accumulation_steps: _Optional[int] = ..., remainder: _Optional[str] = ..., max_steps: _Optional[int] = ..., epochs: _Optional[int] = ..., mixed_precision: _Optional[str] = ..., gradient_checkpointing: _Optional[bool] = ..., max_grad_norm: _Optional[float] = ..., grad_clip_method: _Optional[str] = ..., prediction_type: _Optional[str] = ..., rescale_betas_zero_snr: _Optional[bool] = ..., loss: _Optional[_Union[Loss, _Mapping]] = ..., noise: _Optional[_Union[Noise, _Mapping]] = ..., timesteps: _Optional[_Union[Timesteps, _Mapping]] = ..., caption_dropout_probability: _Optional[float] = ..., caption_dropout_time_ids: _Optional[bool] = ..., ema: _Optional[_Union[Ema, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class Lora(_message.Message):
    __slots__ = ("rank", "alpha", "dropout", "targets")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    rank: int
    alpha: float
    dropout: float
    targets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rank: _Optional[int] = ..., alpha: _Optional[float] = ..., dropout: _Optional[float] = ..., targets: _Optional[_Iterable[str]] = ...) -> None: ...

class Optimizer(_message.Message):
    __slots__ = ("type", "learning_rate", "beta1", "beta2", "epsilon", "weight_decay")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BETA1_FIELD_NUMBER: _ClassVar[int]
    BETA2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    type: str
    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    def __init__(self, type: _Optional[str] = ..., learning_rate: _Optional[float] = ..., beta1: _Optional[float] = ..., beta2: _Optional[float] = ..., epsilon: _Optional[float] = ..., weight_decay: _Optional[float] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("type", "warmup_steps", "power", "end_learning_rate", "cycles")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_STEPS_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    END_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    CYCLES_FIELD_NUMBER: _ClassVar[int]
    type: str
    warmup_steps: int
    power: float
    end_learning_rate: float
    cycles: int
    def __init__(self, type: _Optional[str] = ..., warmup_steps: _Optional[int] = ..., power: _Optional[float] = ..., end_learning_rate: _Optional[float] = ..., cycles: _Optional[int] = ...) -> None: ...

class Loss(_message.Message):
    __slots__ = ("type", "huber_c", "huber_schedule", "snr_gamma")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    HUBER_C_FIELD_NUMBER: _ClassVar[int]
    HUBER_SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    SNR_GAMMA_FIELD_NUMBER: _ClassVar[int]
    type: str
    huber_c: float
    huber_schedule: str
    snr_gamma: float
    def __init__(self, type: _Optional[str] = ..., huber_c: _Optional[float] = ..., huber_schedule: _Optional[str] = ..., snr_gamma: _Optional[float] = ...) -> None: ...

class Noise(_message.Message):
    __slots__ = ("offset", "offset_probability", "input_perturbation")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    OFFSET_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    INPUT_PERTURBATION_FIELD_NUMBER: _ClassVar[int]
    offset: float
    offset_probability: float
    input_perturbation: float
    def __init__(self, offset: _Optional[float] = ..., offset_probability: _Optional[float] = ..., input_perturbation: _Optional[float] = ...) -> None: ...

class Timesteps(_message.Message):
    __slots__ = ("bias_strategy", "bias_multiplier", "bias_portion", "bias_begin", "bias_end")
    BIAS_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    BIAS_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    BIAS_PORTION_FIELD_NUMBER: _ClassVar[int]
    BIAS_BEGIN_FIELD_NUMBER: _ClassVar[int]
    BIAS_END_FIELD_NUMBER: _ClassVar[int]
    bias_strategy: str
    bias_multiplier: float
    bias_portion: float
    bias_begin: int
    bias_end: int
    def __init__(self, bias_strategy: _Optional[str] = ..., bias_multiplier: _Optional[float] = ..., bias_portion: _Optional[float] = ..., bias_begin: _Optional[int] = ..., bias_end: _Optional[int] = ...) -> None: ...

class Ema(_message.Message):
    __slots__ = ("decay", "update_interval", "warmup_steps")
    DECAY_FIELD_NUMBER: _ClassVar[int]
    UPDATE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    WARMUP_STEPS_FIELD_NUMBER: _ClassVar[int]
    decay: float
    update_interval: int
    warmup_steps: int
    def __init__(self, decay: _Optional[float] = ..., update_interval: _Optional[int] = ..., warmup_steps: _Optional[int] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("every_steps", "keep")
    EVERY_STEPS_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    every_steps: int
    keep: int
    def __init__(self, every_steps: _Optional[int] = ..., keep: _Optional[int] = ...) -> None: ...

class Evaluate(_message.Message):
    __slots__ = ("prompts", "negative_prompt", "resolutions", "guidance", "guidance_rescale", "steps", "seed", "num_images", "sampler", "loss", "dataset_prompts", "contact_sheet", "adapter_scales")
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESOLUTIONS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_RESCALE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NUM_IMAGES_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    DATASET_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    CONTACT_SHEET_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_SCALES_FIELD_NUMBER: _ClassVar[int]
    prompts: _containers.RepeatedScalarFieldContainer[str]
    negative_prompt: str
    resolutions: _containers.RepeatedScalarFieldContainer[str]
    guidance: float
    guidance_rescale: float
    steps: int
    seed: int
    num_images: int
    sampler: str
    loss: EvaluationLoss
    dataset_prompts: int
    contact_sheet: int
    adapter_scales: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, prompts: _Optional[_Iterable[str]] = ..., negative_prompt: _Optional[str] = ..., resolutions: _Optional[_Iterable[str]] = ..., guidance: _Optional[float] = ..., guidance_rescale: _Optional[float] = ..., steps: _Optional[int] = ..., seed: _Optional[int] = ..., num_images: _Optional[int] = ..., sampler: _Optional[str] = ..., loss: _Optional[_Union[EvaluationLoss, _Mapping]] = ..., dataset_prompts: _Optional[int] = ..., contact_sheet: _Optional[int] = ..., adapter_scales: _Optional[_Iterable[float]] = ...) -> None: ...

class EvaluationLoss(_message.Message):
    __slots__ = ("num_images", "num_timesteps")
    NUM_IMAGES_FIELD_NUMBER: _ClassVar[int]
    NUM_TIMESTEPS_FIELD_NUMBER: _ClassVar[int]
    num_images: int
    num_timesteps: int
    def __init__(self, num_images: _Optional[int] = ..., num_timesteps: _Optional[int] = ...) -> None: ...

class TrainingRunStatus(_message.Message):
    __slots__ = ("observed_generation", "phase", "conditions", "stages", "progress", "artifacts", "sequence", "stage", "reason", "message", "start_time", "completion_time", "queue", "images", "gpu_seconds")
    class ArtifactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OBSERVED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    GPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    observed_generation: int
    phase: str
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    stages: _containers.RepeatedCompositeFieldContainer[StageStatus]
    progress: Progress
    artifacts: _containers.ScalarMap[str, str]
    sequence: int
    stage: str
    reason: str
    message: str
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    queue: str
    images: int
    gpu_seconds: float
    def __init__(self, observed_generation: _Optional[int] = ..., phase: _Optional[str] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., stages: _Optional[_Iterable[_Union[StageStatus, _Mapping]]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., artifacts: _Optional[_Mapping[str, str]] = ..., sequence: _Optional[int] = ..., stage: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., queue: _Optional[str] = ..., images: _Optional[int] = ..., gpu_seconds: _Optional[float] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("type", "status", "reason", "message", "last_transition_time", "observed_generation")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_TRANSITION_TIME_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    type: str
    status: str
    reason: str
    message: str
    last_transition_time: _timestamp_pb2.Timestamp
    observed_generation: int
    def __init__(self, type: _Optional[str] = ..., status: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., last_transition_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., observed_generation: _Optional[int] = ...) -> None: ...

class StageStatus(_message.Message):
    __slots__ = ("stage", "phase", "attempt", "start_time", "completion_time", "message", "reason", "retries", "job", "job_uid", "retry_time")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    JOB_UID_FIELD_NUMBER: _ClassVar[int]
    RETRY_TIME_FIELD_NUMBER: _ClassVar[int]
    stage: str
    phase: str
    attempt: int
    start_time: _timestamp_pb2.Timestamp
    completion_time: _timestamp_pb2.Timestamp
    message: str
    reason: str
    retries: int
    job: str
    job_uid: str
    retry_time: _timestamp_pb2.Timestamp
    def __init__(self, stage: _Optional[str] = ..., phase: _Optional[str] = ..., attempt: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., message: _Optional[str] = ..., reason: _Optional[str] = ..., retries: _Optional[int] = ..., job: _Optional[str] = ..., job_uid: _Optional[str] = ..., retry_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("stage", "unit", "done", "total", "rate", "remaining_seconds", "figures", "step", "eta")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    REMAINING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    stage: str
    unit: str
    done: int
    total: int
    rate: float
    remaining_seconds: float
    figures: _struct_pb2.Struct
    step: str
    eta: str
    def __init__(self, stage: _Optional[str] = ..., unit: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., rate: _Optional[float] = ..., remaining_seconds: _Optional[float] = ..., figures: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., step: _Optional[str] = ..., eta: _Optional[str] = ...) -> None: ...
