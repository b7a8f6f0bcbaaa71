"""Whether what a run names is an SDXL model, told from small files and headers before any weights are read. No torch.

    check_model(spec.model, base, store)    whatever of it is on this machine or in the store: every part, and that the parts fit together
    locate(field, name, base)        where it is
    read_config(part, file)          one part's config, checked by itself

Faults name the field or the file, what was found there and the cure.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from kubetuner.artifacts import model as models
from kubetuner.diffusion import fetch
from kubetuner.diffusion.fetch import StoredModel
from kubetuner.errors import DataError, SpecError
from kubetuner.storage import ObjectStore, places
from kubetuner.v1alpha1.training_run_pb2 import Model

Json = Mapping[str, Any]

CONFIGS: Final = {
    "unet": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "text_encoder_2": "config.json",
    "scheduler": "scheduler_config.json",
}
"""The small file that describes each part."""
SINGLE_FILE: Final = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "conditioner.embedders.0.",
    "text_encoder_2": "conditioner.embedders.1.",
}
"""How the names of each part's tensors begin in a single file."""
_HUB_ID: Final = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
_OF_A_VARIANT: Final = re.compile(r"\.\w+(-\d+-of-\d+)?\.safetensors$")
_LONGEST_HEADER: Final = 100_000_000  # the safetensors package's own limit
_TOKENIZERS: Final = {"tokenizer": "text_encoder", "tokenizer_2": "text_encoder_2"}
_WHOLE: Final = "give a complete SDXL model in diffusers' layout"
_BETAS: Final = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
_PREDICTIONS: Final = ("epsilon", "v_prediction")
_VAE_BLOCKS: Final = 4  # three of them halve the edges: latents are an eighth of the picture
_TIME_IDS: Final = 6
_CLIP: Final = {"hidden_size": 512, "num_hidden_layers": 12, "projection_dim": 512, "vocab_size": 49408}
"""What transformers takes where a text encoder's config says nothing."""


def check_model(model: Model, base: Path, store: ObjectStore | None = None) -> None:
    """Raise SpecError or DataError where the model of a run cannot be used; what is on the Hub is left to whoever brings it."""
    if (ref := models.named_by(model.path)) is not None:
        check_stored(fetch.open_stored(ref, store), model.path)
        return
    own = model.HasField("vae")
    if own and (vae := locate("spec.model.vae.path", model.vae.path, base)) is not None and vae.is_dir():
        folder = vae / "vae" if (vae / "vae").is_dir() else vae
        read_config("vae", folder / CONFIGS["vae"])
        require_weights(folder, model.vae.path, model.variant)
    if not model.path or (place := locate("spec.model.path", model.path, base)) is None:
        return
    if place.is_dir():
        check_folder(place, model.path, variant=model.variant, vae=not own)
        return
    check_single(place, vae=not own)
    if model.config and (configs := locate("spec.model.config", model.config, base)) is not None:
        check_folder(configs, model.config, weights=False, vae=not own)


def check_stored(stored: StoredModel, name: str) -> None:
    """Raise DataError where a model in the store is no whole SDXL model; reads its index and small files only."""
    for part in (*CONFIGS, *_TOKENIZERS):
        root = stored.folder(part, weights=False).parent
        if part in SINGLE_FILE and not stored.has_weights(part):
            raise DataError(f"model {name}: the part {part}/ holds no .safetensors weights; {_WHOLE}")
    check_folder(root, name, weights=False, vae=not stored.own_vae)


def locate(field: str, name: str, base: Path) -> Path | None:
    """The folder or .safetensors file that a field names, or None for a Hub id. Raises SpecError where it is neither."""
    if name.startswith((places.STORE, places.S3)):
        raise SpecError(field, f"{name!r} is brought into the store by ingest, and read from there; begin with that stage")
    local = places.volume_folder(name, field) if name.startswith(places.VOLUME) else Path(name).expanduser()
    local = local if local.is_absolute() else base / local
    try:
        if local.is_dir() or (local.is_file() and local.suffix == ".safetensors"):
            return local
        there = local.exists()
    except OSError as error:
        raise SpecError(field, f"{name!r} cannot be looked at ({error.strerror}: {local}); give the right to read it") from error
    if there:
        raise SpecError(field, f"{name!r} is a {local.suffix or 'plain'} file; only .safetensors is read, because a pickle can run code")
    if name.startswith((".", "/", "~")) or not _HUB_ID.match(name):
        raise SpecError(
            field, f"{name!r} does not exist ({local}); give a folder in diffusers' layout, a .safetensors file or a Hub id owner/name"
        )
    return None


def is_hub_id(name: str) -> bool:
    """Whether a name can be one of the Hub's."""
    return _HUB_ID.match(name) is not None


def check_folder(root: Path, model: str, *, variant: str = "", weights: bool = True, vae: bool = True) -> None:
    """Raise DataError where the folder is no whole SDXL model. `model` is its name in messages.

    Without `weights` the folder is a single file's configs and tokenizers; without `vae` the run brings an autoencoder of its own.
    """
    configs = {}
    for part, name in CONFIGS.items():
        if part == "vae" and not vae:
            continue
        if not (root / part).is_dir():
            raise DataError(f"model {model}: the part {part}/ is missing in {root}; {_WHOLE}")
        configs[part] = read_config(part, root / part / name)
        if weights and part != "scheduler":
            require_weights(root / part, model, variant)
    _check_sizes(root, configs)
    for tokenizer, encoder in _TOKENIZERS.items():
        _check_tokenizer(root / tokenizer, model, _clip(configs[encoder], "vocab_size"))


def check_single(file: Path, *, vae: bool = True) -> None:
    """Raise DataError where a file is no SDXL checkpoint; reads its header only."""
    names = _tensors(file)
    for part, prefix in SINGLE_FILE.items():
        if (part != "vae" or vae) and not any(name.startswith(prefix) for name in names):
            raise DataError(f"{file}: holds no {part} (no tensor begins with {prefix}); give a complete SDXL checkpoint")


def check_header(file: Path) -> None:
    """Raise DataError where a file is no whole .safetensors file; reads its header only."""
    _tensors(file)


def read_config(part: str, file: Path) -> dict[str, Any]:
    """A part's config. Raises DataError where it is not one of SDXL."""
    config = read_json(file)
    wanted = {"unet": _unet, "vae": _vae, "scheduler": _scheduler}.get(part, _text_encoder)
    for name, right, words in wanted(config):
        if not right:
            raise DataError(f"{file}: {name} is {_shown(config.get(name))}, but {words}; {_WHOLE}")
    return config


def require_weights(folder: Path, model: str, variant: str) -> None:
    """Raise DataError where a part's folder holds no safetensors, none of the variant, or one that is cut short."""
    files = sorted(file for file in folder.glob("*.safetensors") if file.is_file())
    if not files:
        raise DataError(f"model {model}: {folder} holds no .safetensors weights; convert the model, pickles are not read")
    wanted = [file for file in files if not variant or re.search(rf"\.{re.escape(variant)}[.-]", file.name)]
    if not wanted:
        names = ", ".join(file.name for file in files)
        raise DataError(f"model {model}: {folder} holds no weights of variant {variant} ({names}); drop model.variant")
    for file in wanted:
        _tensors(file)


def files_of(names: Iterable[str], *, variant: str, weights: bool = True) -> list[str]:
    """Names of those files in a part's folder that are read: configs, vocabularies, and the weights of the variant. Sorted.

    Without a variant the plain weights are meant, where there are any.
    """
    found = sorted(name for name in names if name.endswith((".json", ".txt", ".safetensors")))
    tensors = [name for name in found if name.endswith(".safetensors")]
    if variant:
        wanted = {name for name in tensors if re.search(rf"\.{re.escape(variant)}[.-]", name)}
    else:
        wanted = {name for name in tensors if not _OF_A_VARIANT.search(name)} or set(tensors)
    return [name for name in found if name not in tensors or (weights and name in wanted)]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a model. Raises DataError that names it."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); the model is incomplete, bring it again") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); the model is damaged, bring it again") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: not a JSON object; the model is damaged, bring it again")
    return document


def _tensors(file: Path) -> list[str]:
    """Names of a safetensors file's tensors, from its header. Raises DataError where the file is not whole."""
    try:
        with open(file, "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length)) if length <= min(size, _LONGEST_HEADER) else {}
            end = max(row["data_offsets"][1] for name, row in header.items() if name != "__metadata__")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); give the right to read it") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}: is no whole .safetensors file; bring the model again") from error
    if size != 8 + length + end:
        raise DataError(f"{file}: is {size} bytes long, its header says {8 + length + end}; bring the model again")
    return list(header)


_Rules = list[tuple[str, bool, str]]
"""Field, whether it is right, and what it should be."""


def _unet(config: Json) -> _Rules:
    counts = ("cross_attention_dim", "addition_time_embed_dim", "projection_class_embeddings_input_dim")
    family = config.get("addition_embed_type") == "text_time"
    return [
        ("_class_name", config.get("_class_name", "UNet2DConditionModel") == "UNet2DConditionModel", "SDXL's is a UNet2DConditionModel"),
        ("addition_embed_type", family, "SDXL's is text_time: this is the U-Net of another family"),
        ("in_channels", config.get("in_channels", 4) == 4, "4 are trained: inpainting and editing models are not"),
        ("out_channels", config.get("out_channels", 4) == 4, "SDXL's has 4"),
        *((name, _count(config.get(name)), "a whole number is expected") for name in counts),
    ]


def _vae(config: Json) -> _Rules:
    blocks = config.get("block_out_channels")
    scaling = config.get("scaling_factor", 0.18215)
    return [
        ("_class_name", config.get("_class_name", "AutoencoderKL") == "AutoencoderKL", "SDXL's is an AutoencoderKL"),
        ("latent_channels", config.get("latent_channels", 4) == 4, "SDXL's latents have 4"),
        ("block_out_channels", isinstance(blocks, list) and len(blocks) == _VAE_BLOCKS, "SDXL's has four blocks"),
        ("scaling_factor", _number(scaling) and scaling > 0, "a number above 0 is expected"),
        ("shift_factor", not config.get("shift_factor"), "latents with a shift are not trained"),
        ("latents_mean", config.get("latents_mean") is None, "latents with a mean and deviation of their own are not trained"),
    ]


def _text_encoder(config: Json) -> _Rules:
    return [(name, _count(config.get(name, default)), "a whole number is expected") for name, default in _CLIP.items()]


def _scheduler(config: Json) -> _Rules:
    return [
        ("num_train_timesteps", _count(config.get("num_train_timesteps", 1000)), "a whole number is expected"),
        ("beta_start", _share(config.get("beta_start")), "a number between 0 and 1 is expected"),
        ("beta_end", _share(config.get("beta_end")), "a number between 0 and 1 is expected"),
        ("beta_schedule", config.get("beta_schedule") in _BETAS, f"one of {', '.join(_BETAS)} is expected"),
        ("trained_betas", _betas(config.get("trained_betas")), "a list of numbers between 0 and 1 is expected"),
        ("prediction_type", config.get("prediction_type", "epsilon") in _PREDICTIONS, f"{' and '.join(_PREDICTIONS)} are trained"),
    ]


def _check_sizes(root: Path, configs: Mapping[str, Json]) -> None:
    """The U-Net listens to what the two text encoders say."""
    unet, first, second = (configs[part] for part in ("unet", "text_encoder", "text_encoder_2"))
    file = root / "unet" / "config.json"
    hidden = _clip(first, "hidden_size") + _clip(second, "hidden_size")
    if unet["cross_attention_dim"] != hidden:
        given = unet["cross_attention_dim"]
        raise DataError(f"{file}: cross_attention_dim is {given}, but the text encoders give {hidden}; the parts are not of one model")
    wanted = _TIME_IDS * unet["addition_time_embed_dim"] + _clip(second, "projection_dim")
    if unet["projection_class_embeddings_input_dim"] != wanted:
        given = unet["projection_class_embeddings_input_dim"]
        problem = f"projection_class_embeddings_input_dim is {given}, but the time ids and text_encoder_2 give {wanted}"
        raise DataError(f"{file}: {problem}; the parts are not of one model")


def _check_tokenizer(folder: Path, model: str, vocab_size: int) -> None:
    if not folder.is_dir():
        raise DataError(f"model {model}: the part {folder.name}/ is missing in {folder.parent}; {_WHOLE}")
    if (folder / "vocab.json").is_file():
        vocabulary = read_json(folder / "vocab.json")
        if not (folder / "merges.txt").is_file():
            raise DataError(f"{folder / 'merges.txt'}: there is no such file; the model is incomplete, bring it again")
        largest = max((number for number in vocabulary.values() if isinstance(number, int)), default=-1)
        if largest >= vocab_size:
            problem = f"its largest token is {largest}, but {_TOKENIZERS[folder.name]} knows {vocab_size} tokens"
            raise DataError(f"{folder / 'vocab.json'}: {problem}; the parts are not of one model")
    elif not (folder / "tokenizer.json").is_file():
        raise DataError(f"{folder / 'vocab.json'}: there is no such file, and no tokenizer.json; the model is incomplete, bring it again")


def _clip(config: Json, name: str) -> int:
    return int(config.get(name, _CLIP[name]))


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _share(value: Any) -> bool:
    return _number(value) and 0 < value < 1


def _betas(value: object) -> bool:
    return value is None or (isinstance(value, list) and bool(value) and all(map(_share, value)))


def _shown(value: object) -> str:
    return "missing" if value is None else json.dumps(value)[:60]
