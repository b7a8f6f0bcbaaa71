"""The base model's parts, from a diffusers folder, a single .safetensors file or the Hub; each read only when it is asked for.

    open_model(spec.model, base=..., store=...) -> ModelSource    finds it, reads no weights
    load_unet / load_vae / load_text_encoders(source, ...) read one part
    source.digest("unet")                                  stands for the part's content in fingerprints

Weights are read from safetensors only: a pickle can run code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from kubetuner.artifacts import model as models
from kubetuner.diffusion import digests, fetch, layout
from kubetuner.diffusion.fetch import StoredModel
from kubetuner.diffusion.flavours import HUB_IDS
from kubetuner.errors import DataError, KubeTunerError, SpecError
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1.training_run_pb2 import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoders:
    """SDXL's two CLIP text encoders with their tokenizers."""

    first: CLIPTextModel
    second: CLIPTextModelWithProjection
    first_tokenizer: CLIPTokenizer
    second_tokenizer: CLIPTokenizer


@dataclass(frozen=True)
class ModelSource:
    """Where the base model is; reads nothing by itself."""

    name: str
    """As the user wrote it, for messages and provenance."""
    root: Path | None
    """Folder in diffusers' layout that holds weights or, with `single`, just configs and tokenizers; None while it is on the Hub."""
    single: Path | None = None
    """A single-file checkpoint, which takes the place of the weights in `root`."""
    hub_id: str = ""
    revision: str = ""
    variant: str = ""
    vae: ModelSource | None = None
    """An autoencoder that replaces the model's own."""
    stored: StoredModel | None = None
    """The model in the store, which then is all of the above."""

    def single_file(self, part: str) -> Path | None:
        """The file that holds a part's weights where they are of a single-file checkpoint."""
        if part not in layout.SINGLE_FILE:
            return None
        return self.single if self.stored is None else self.stored.single(part)

    def folder(self, part: str) -> Path:
        """The folder of a part's config and, but for single files, weights; brought from the store or the Hub where it is there."""
        if self.stored is not None:
            return self.stored.folder(part)
        root = self.root if self.root is not None else _download(self.hub_id, self.revision, part, self.variant)
        folder = root / part
        if folder.is_dir():
            return folder
        if part == "vae" and (root / "config.json").is_file():  # an autoencoder by itself has no sub-folder
            return root
        raise DataError(f"model {self.name}: the part {part}/ is missing in {root}; give a complete SDXL model in diffusers' layout")

    def digest(self, part: str) -> str:
        """Stands for the content of a part: its configs and weights, wherever they lie."""
        if part == "vae" and self.vae is not None:
            return self.vae.digest("vae")
        return _digest(self, part)

    def notice(self) -> str:
        """What the model's maker wants said on the report page."""
        index = self.stored.read_index() if self.stored is not None else None if self.root is None else self.root / models.INDEX
        if index is None or not index.is_file():
            return ""
        return str(layout.read_json(index).get("_kubetuner_notice", ""))


def open_model(model: Model, *, base: Path, store: ObjectStore | None = None) -> ModelSource:
    """Find the model that a run names; `store` is the run's own. Raises SpecError where there is none.

    A model in the store that was brought with an autoencoder of its own has it in place of what `model.vae` names.
    """
    if (ref := models.named_by(model.path)) is not None:
        stored = fetch.open_stored(ref, store)
        own = model.HasField("vae") and not stored.own_vae
        vae = _open("spec.model.vae.path", model.vae.path, base, model) if own else None
        return ModelSource(name=model.path, root=None, stored=stored, variant=stored.variant, vae=vae)
    vae = None if not model.HasField("vae") else _open("spec.model.vae.path", model.vae.path, base, model)
    if not model.path:
        hub_id = HUB_IDS[model.flavour]
        return ModelSource(name=hub_id, root=None, hub_id=hub_id, revision=model.revision, variant=model.variant, vae=vae)
    source = _open("spec.model.path", model.path, base, model)
    return ModelSource(**{**source.__dict__, "vae": vae})


def load_scheduler_config(source: ModelSource) -> dict[str, Any]:
    """The noise schedule that the model was trained with, as in scheduler/scheduler_config.json."""
    return layout.read_config("scheduler", source.folder("scheduler") / "scheduler_config.json")


def load_unet(source: ModelSource, *, dtype: torch.dtype, device: torch.device) -> UNet2DConditionModel:
    """The U-Net in evaluation mode, all weights frozen. Raises DataError where the part is incomplete."""
    unet = _load_model(UNet2DConditionModel, source, "unet", dtype)
    return unet.to(device).eval().requires_grad_(False)


def load_vae(source: ModelSource, *, dtype: torch.dtype, device: torch.device) -> AutoencoderKL:
    """The autoencoder in evaluation mode. Raises SpecError where it would overflow in fp16."""
    vae = _load_model(AutoencoderKL, source.vae or source, "vae", dtype)
    require_finite(source, "vae")
    if dtype == torch.float16 and vae.config.force_upcast:
        raise SpecError(
            "spec.embed.vae.precision",
            "fp16 overflows in this autoencoder (its config says force_upcast): use auto, bf16 or fp32, "
            "or set spec.model.vae.path to madebyollin/sdxl-vae-fp16-fix",
        )
    return vae.to(device).eval().requires_grad_(False)


def load_text_encoders(source: ModelSource, *, dtype: torch.dtype, device: torch.device) -> TextEncoders:
    """Both text encoders and tokenizers, in evaluation mode."""
    transformers_logging.disable_progress_bar()  # it would write into ours
    first = _load_model(CLIPTextModel, source, "text_encoder", dtype)
    second = _load_model(CLIPTextModelWithProjection, source, "text_encoder_2", dtype)
    return TextEncoders(
        first=first.to(device).eval().requires_grad_(False),
        second=second.to(device).eval().requires_grad_(False),
        first_tokenizer=_load_tokenizer(source, "tokenizer", first.config.vocab_size),
        second_tokenizer=_load_tokenizer(source, "tokenizer_2", second.config.vocab_size),
    )


def require_finite(source: ModelSource, part: str) -> None:
    """Raise DataError where a part's file holds weights that are no numbers: whoever finds NaN in a result asks here first."""
    if part == "vae" and source.vae is not None:
        source = source.vae
    single = source.single_file(part)
    prefix = "" if single is None else layout.SINGLE_FILE[part]
    for path in [single] if single is not None else _weight_files(source, part):
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                if name.startswith(prefix) and not bool(torch.isfinite(file.get_tensor(name)).all()):
                    raise DataError(f"model {source.name}: {part} has weights that are not finite (first: {name}); bring the model again")


def _weight_files(source: ModelSource, part: str) -> Iterator[Path]:
    return (file for file in _files_of(source, part) if file.suffix == ".safetensors")


def _load_tokenizer(source: ModelSource, part: str, known: int) -> CLIPTokenizer:
    folder = source.folder(part)
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder))
        largest = max(tokenizer.get_vocab().values(), default=-1)
    except Exception as error:  # the package raises plain Exceptions of damaged files, among many other kinds
        raise DataError(f"model {source.name}: {part} cannot be loaded: {_words(error)}; bring the model again") from error
    if largest >= known:
        raise DataError(f"model {source.name}: {part} makes tokens up to {largest}, its text encoder knows {known}; bring the model again")
    return tokenizer


def _open(path: str, name: str, base: Path, model: Model) -> ModelSource:
    local = layout.locate(path, name, base)
    if local is None:
        revision = "" if path == "spec.model.vae.path" else model.revision  # it is the model's repository's
        return ModelSource(name=name, root=None, hub_id=name, revision=revision, variant=model.variant)
    if local.is_dir():
        return ModelSource(name=name, root=local, variant=model.variant)
    return _open_single(name, local, base, model)


def _open_single(name: str, file: Path, base: Path, model: Model) -> ModelSource:
    if not model.config:
        return ModelSource(name=name, root=None, single=file, hub_id=HUB_IDS[model.flavour])
    config = _open("spec.model.config", model.config, base, model)
    return ModelSource(name=name, root=config.root, single=file, hub_id=config.hub_id, revision=config.revision)


def _load_model(kind: type[Any], source: ModelSource, part: str, dtype: torch.dtype) -> Any:
    layout.read_config(part, source.folder(part) / "config.json")
    try:
        if source.single_file(part) is not None:
            loaded = _load_single(kind, source, part, dtype)
            info = {"missing_keys": [name for name, value in loaded.state_dict().items() if value.is_meta]}
        else:
            loaded, info = _load_folder(kind, source, part, dtype)
    except (KubeTunerError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of a damaged config or file the libraries raise errors of any kind
        if "can't allocate memory" in str(error):
            raise
        raise DataError(f"model {source.name}: {part} cannot be loaded: {_words(error)}; bring the model again") from error
    for problem, found in (("lacks", info["missing_keys"]), ("has wrong shapes of", info.get("mismatched_keys", ())), _unknown(part, info)):
        names = sorted(name if isinstance(name, str) else str(name[0]) for name in found if "position_ids" not in str(name))
        if names:
            raise DataError(f"model {source.name}: {part} {problem} {len(names)} weights (first: {names[0]}); bring the model again")
    return loaded


def _unknown(part: str, info: dict[str, Any]) -> tuple[str, Any]:
    """Weights that the config has no place for: what would be loaded is not the model that was saved."""
    return "has no place for", info.get("unexpected_keys", ()) if part in ("unet", "vae") else ()


def _words(error: BaseException) -> str:
    """What a library says of a fault, without its advice on its own options."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(" If you want to instead")[0].rstrip(". ")[:300]


def _load_folder(kind: type[Any], source: ModelSource, part: str, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    folder = source.folder(part)
    layout.require_weights(folder, source.name, source.variant)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    if part.startswith("text_encoder"):  # transformers names no weight of a wrong shape unless it is told to go on
        options |= {"dtype": dtype, "ignore_mismatched_sizes": True}
    else:
        options["torch_dtype"] = dtype
    if source.variant:
        options["variant"] = source.variant
    loaded, info = kind.from_pretrained(str(folder), **options)
    return loaded, info


def _load_single(kind: type[Any], source: ModelSource, part: str, dtype: torch.dtype) -> Any:
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm

    weights = _read_prefix(source, part)
    config = source.folder(part)
    if part.startswith("text_encoder"):
        return create_diffusers_clip_model_from_ldm(
            kind, checkpoint=weights, subfolder="", config=str(config), torch_dtype=dtype, local_files_only=True
        )
    try:
        return kind.from_single_file(weights, config=str(config), torch_dtype=dtype, local_files_only=True)
    except NotImplementedError as error:  # torch's answer where a weight was found no tensor for
        raise DataError(f"model {source.name}: {part} lacks weights; bring the model again") from error


def _read_prefix(source: ModelSource, part: str) -> dict[str, torch.Tensor]:
    """The tensors of one part out of a single file; the others stay on disk."""
    single = source.single_file(part)
    assert single is not None
    prefix = layout.SINGLE_FILE[part]
    try:
        with safe_open(str(single), framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (not a dict)
            if not names and part == "vae":  # an autoencoder by itself carries no prefix
                names = list(file.keys())
            if not names:
                raise DataError(f"{single}: holds no {part} (no tensor begins with {prefix}); give a complete SDXL checkpoint")
            return {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{single}: cannot be read ({_words(error)}); bring the model again") from error


def _digest(source: ModelSource, part: str) -> str:
    if source.stored is not None:
        return source.stored.digest(part)
    rows: list[Sequence[object]] = []
    if (single := source.single_file(part)) is not None:
        rows.extend(_tensor_digests(source, part, digests.identity(single)))
    try:
        rows.extend([file.name, digests.sha256(file)] for file in _files_of(source, part))
    except OSError as error:
        raise DataError(f"model {source.name}: {error.filename} cannot be read ({error.strerror}); bring the model again") from error
    return models.digest(part, rows)


@cache
def _tensor_digests(source: ModelSource, part: str, _: digests.Identity) -> list[Sequence[object]]:
    def digest(tensor: torch.Tensor) -> str:
        return hashlib.sha256(tensor.contiguous().reshape(-1).view(torch.uint8).numpy()).hexdigest()

    return [[name, str(tensor.dtype), list(tensor.shape), digest(tensor)] for name, tensor in sorted(_read_prefix(source, part).items())]


def _files_of(source: ModelSource, part: str) -> Iterator[Path]:
    folder = source.folder(part)
    names = [file.name for file in folder.iterdir()]
    return (folder / name for name in layout.files_of(names, variant=source.variant, weights=source.single_file(part) is None))


def _download(hub_id: str, revision: str, part: str, variant: str) -> Path:
    """Bring one part of a Hub repository into the Hub's own cache; without a variant its plain weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    weights = f"*.{variant}.safetensors" if variant else "*.safetensors"
    patterns = [
        "model_index.json",
        f"{part}/*.json",
        f"{part}/*.txt",
        f"{part}/{weights}",
        "config.json",
        "*.safetensors" if part == "vae" else "",
    ]
    ignored = ["sd_xl*", *([] if variant else ["*.fp16*.safetensors", "*.non_ema*.safetensors"])]
    try:
        return Path(
            snapshot_download(hub_id, revision=revision or None, allow_patterns=[p for p in patterns if p], ignore_patterns=ignored)
        )
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise SpecError(
            "spec.model.path", f"{hub_id!r} at {revision or 'its main branch'} is not on the Hub, or not for this token"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise DataError(
            f"model {hub_id}: {part} cannot be brought from the Hub ({type(error).__name__}); "
            "check the network, or set spec.model.path to a folder that holds the model"
        ) from error
