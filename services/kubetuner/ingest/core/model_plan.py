"""Which files a base model is made of, wherever they lie: SDXL's parts, the run's variant, its own autoencoder, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubetuner.artifacts import model as models
from kubetuner.artifacts import objects
from kubetuner.context import StageContext
from kubetuner.diffusion import layout
from kubetuner.diffusion.flavours import HUB_IDS
from kubetuner.errors import DataError
from kubetuner.ingest.core import origins
from kubetuner.ingest.core.origins import Found, HubOrigin, Origin, StoreOrigin
from kubetuner.storage.below import Below
from kubetuner.v1alpha1.training_run_pb2 import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file to bring."""

    target: str
    """Its path in the model."""
    origin: Origin
    found: Found
    part: str = ""
    """The part that is to be taken out of a single-file checkpoint; empty where the file is brought as it is."""

    @property
    def small(self) -> bool:
        """Whether it is a config or a vocabulary."""
        return not self.target.endswith(".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All files of a model."""

    items: Sequence[Item]
    name: str
    variant: str
    own_vae: bool
    revision: str = ""
    """The commit of the Hub that is meant."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Digests of parts that are known already."""


def make(model: Model, ctx: StageContext) -> Plan:
    """The plan for a model of a run. Raises SpecError or DataError where it is not there or not whole."""
    own = model.HasField("vae")
    if (ref := models.named_by(model.path)) is not None:
        return _of_stored(model, ref, ctx)
    address = model.path or HUB_IDS[model.flavour]
    main, single = origins.locate("spec.model.path", address, model, ctx, revision=model.revision)
    configs = _configs(model, ctx) if single else main
    folders = _folders(configs)
    items = list(_index(configs, folders))
    for part in models.PARTS:
        if part != "vae" or not own:
            items += _part(configs, folders, part, part, "" if single else model.variant, weights=not single)
            items += _taken_out(main, single, part)
    if own:
        items += _own_vae(model, ctx)
    return Plan(
        items=items,
        name=models.short_name(model.path, model.flavour),
        variant="" if single else model.variant,
        own_vae=own,
        revision=main.repository.commit if isinstance(main, HubOrigin) else "",
    )


def _of_stored(model: Model, ref: objects.ArtifactRef, ctx: StageContext) -> Plan:
    """A model that is in the store, with another autoencoder."""
    index = objects.load(ctx.store, ref)
    known = {file.path: file for file in models.files(index)}
    origin = StoreOrigin(name=model.path, store=Below(ctx.store, ref.prefix.rstrip("/")), known=known)
    left_out = (f"{models.OWN_VAE}/", "vae/", f"{models.CHECKPOINT}/vae.")
    kept = [file for file in known.values() if not file.path.startswith(left_out)]
    items = [Item(target=file.path, origin=origin, found=Found(path=file.path, size=file.size, sha256=file.sha256)) for file in kept]
    digests = {part: digest for part, digest in index["digests"].items() if part != "vae"}
    return Plan(
        items=[*items, *_own_vae(model, ctx)],
        name=str(index["name"]),
        variant=str(index["variant"]),
        own_vae=True,
        revision=str(index["revision"]),
        digests=digests,
    )


def _configs(model: Model, ctx: StageContext) -> Origin:
    """Where a single file finds its configs and tokenizers."""
    origin, single = origins.locate("spec.model.config", model.config or HUB_IDS[model.flavour], model, ctx)
    if single:
        raise DataError(f"model.config {model.config} is a file; give a folder in diffusers' layout or a Hub id")
    return origin


def _own_vae(model: Model, ctx: StageContext) -> Iterator[Item]:
    origin, single = origins.locate("spec.model.vae.path", model.vae.path, model, ctx)
    configs = _configs(model, ctx) if single else origin
    folders = _folders(configs)
    folder = "vae" if "vae" in folders or single else ""  # an autoencoder by itself has no sub-folder
    yield from _part(configs, folders, folder, models.OWN_VAE, "" if single else model.variant, weights=not single)
    yield from _taken_out(origin, single, "vae")


def _folders(origin: Origin) -> dict[str, dict[str, Found]]:
    """The files by folder and name; those deeper down are no part's."""
    found: dict[str, dict[str, Found]] = {}
    for file in origin.files():
        folder, _, name = file.path.rpartition("/")
        found.setdefault(folder, {})[name] = file
    if not found:
        raise DataError(f"model {origin.name}: nothing is there; bring it by `kubetuner push`, or correct the address")
    return found


def _index(origin: Origin, folders: Mapping[str, Mapping[str, Found]]) -> Iterator[Item]:
    found = folders.get("", {}).get(models.INDEX)
    if found is not None:
        yield Item(target=models.INDEX, origin=origin, found=found)


def _part(
    origin: Origin, folders: Mapping[str, Mapping[str, Found]], folder: str, target: str, variant: str, *, weights: bool
) -> Iterator[Item]:
    files = folders.get(folder, {})
    names = [name for name in layout.files_of(files, variant=variant, weights=weights) if folder or name != models.INDEX]
    needed = weights and (target in layout.SINGLE_FILE or target == models.OWN_VAE)
    if not names or (not folder and "config.json" not in names):
        raise DataError(f"model {origin.name}: the part {target}/ is missing; give a complete SDXL model in diffusers' layout")
    if needed and not any(name.endswith(".safetensors") for name in names):
        there = ", ".join(name for name in files if name.endswith(".safetensors"))
        what = f"no weights of variant {variant} ({there}); drop model.variant" if there else "no .safetensors weights; convert the model"
        raise DataError(f"model {origin.name}: {target}/ holds {what}")
    for name in names:
        yield Item(target=f"{target}/{name}", origin=origin, found=files[name])


def _taken_out(origin: Origin, single: str, part: str) -> Iterator[Item]:
    """A part's weights out of a single-file checkpoint."""
    if single and part in layout.SINGLE_FILE:
        found = next(file for file in origin.files() if file.path == single)
        yield Item(target=f"{models.CHECKPOINT}/{part}.safetensors", origin=origin, found=found, part=part)
