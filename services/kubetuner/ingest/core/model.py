"""ingest's other work: bring the base model into the store, once, by content, so that later stages need no other place.

bring(spec.model, ctx) -> model

From a folder, a volume, the store itself, an object server, a single file or the Hub. Nothing large is read where the store has the model
already and its place tells SHA-256s; nothing large is ever whole in memory; what a killed process brought is not brought again.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from kubetuner.artifacts import model as models
from kubetuner.artifacts import objects
from kubetuner.artifacts.claims import Claims
from kubetuner.artifacts.dataset import UPLOADS
from kubetuner.artifacts.objects import ArtifactRef, fingerprint
from kubetuner.context import StageContext
from kubetuner.diffusion import fetch, layout
from kubetuner.diffusion.flavours import HUB_IDS
from kubetuner.errors import DataError
from kubetuner.ingest.core import model_plan
from kubetuner.ingest.core.carrying import Carrier, Measured
from kubetuner.ingest.core.hub import HubAway
from kubetuner.ingest.core.model_plan import Plan
from kubetuner.v1alpha1.training_run_pb2 import Model

_FILES_AT_ONCE: Final = 2
_PAUSE_SECONDS: Final = 1.0
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def bring(model: Model, ctx: StageContext) -> ArtifactRef:
    """The base model of a run as an artifact of the store; found there at once where it is whole.

    Raises SpecError or DataError where it is not where the run says, or is no SDXL model. Counts `modelFilesBrought`.
    """
    if (ref := models.named_by(model.path)) is not None and not model.HasField("vae"):
        layout.check_stored(fetch.open_stored(ref, ctx.store), model.path)
        return ref
    if _COMMIT.fullmatch(model.revision) and (kept := _remembered(model, ctx)) is not None:
        return kept
    try:
        plan = model_plan.make(model, ctx)
    except HubAway as error:
        kept = _remembered(model, ctx)
        if kept is None:
            raise
        ctx.progress.note(f"{error}; the model that was brought before is used")
        return kept
    with Carrier(plan.items, ctx) as carrier:
        _check(plan, carrier)
        files = carrier.measure()
        ref = models.reference([row.file for row in files])
        _make_whole(plan, files, ref, carrier, ctx)
    _remember(model, ref, ctx)
    return ref


def point(model: Model, ref: ArtifactRef) -> None:
    """Make a run's model mean one that was brought, with its variant and its own autoencoder."""
    model.path = models.address(ref)
    for name in ("revision", "config", "vae", "secret"):
        model.ClearField(name)


def _make_whole(plan: Plan, files: Sequence[Measured], ref: ArtifactRef, carrier: Carrier, ctx: StageContext) -> None:
    """Put what is missing of a model, its index last. One process does it, the others wait for it."""
    claims = Claims(store=ctx.store)
    while not _is_whole(ref, ctx):
        ctx.check()
        with claims.take(f"{ref.noun}/{ref.fingerprint}") as mine:
            if mine:
                with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="model") as threads:
                    ctx.work["modelFilesBrought"] += sum(threads.map(lambda row: carrier.put(ref, row), files))
                models.seal(
                    ctx.store,
                    [row.file for row in files],
                    digests=_digests(plan, files),
                    variant=plan.variant,
                    name=plan.name,
                    revision=plan.revision,
                )
                return
        time.sleep(_PAUSE_SECONDS)


def _is_whole(ref: ArtifactRef, ctx: StageContext) -> bool:
    """Whether index and files are there; an index whose files have gone is taken away, so that they are brought again."""
    index = objects.find(ctx.store, ref)
    if index is None:
        return False
    if all(ctx.store.head(ref.key(file.path)) == file.size for file in models.files(index)):
        return True
    ctx.progress.note(f"{ref.prefix}: files of the base model have gone from the store; they are brought again")
    ctx.store.delete(ref.key("index.json"))
    return False


def _digests(plan: Plan, files: Sequence[Measured]) -> dict[str, str]:
    """What stands for the content of each part, as it would for the same folder on a laptop."""
    paths = [row.file.path for row in files]
    found = dict(plan.digests)
    for part in models.PARTS:
        if part in found:
            continue
        folder = models.folder(paths, part)
        own = sorted((path.rpartition("/")[2], row.file.sha256) for row in files if (path := row.file.path).startswith(f"{folder}/"))
        taken = next((row.tensors for row in files if row.file.path == f"{models.CHECKPOINT}/{part}.safetensors"), ())
        found[part] = models.digest(part, [*taken, *map(list, own)])
    return found


def _check(plan: Plan, carrier: Carrier) -> None:
    """Raise DataError where the small files tell that this is no SDXL model, before the large ones are brought."""
    with tempfile.TemporaryDirectory(prefix="kubetuner-") as folder:
        root = Path(folder)
        for item in plan.items:
            if item.small:
                (root / item.target).parent.mkdir(parents=True, exist_ok=True)
                (root / item.target).write_bytes(carrier.content(item))
        name = plan.items[0].origin.name
        try:
            layout.check_folder(root, name, weights=False, vae=not plan.own_vae)
            if plan.own_vae:
                layout.read_config("vae", root / models.OWN_VAE / layout.CONFIGS["vae"])
        except DataError as error:
            raise DataError(str(error).replace(f"{root}/", f"{name}: ").replace(str(root), name)) from error


def _remembered(model: Model, ctx: StageContext) -> ArtifactRef | None:
    """The model that the Hub's addresses gave last time, where all of it is on the Hub and still in the store."""
    key = _memo(model)
    if key is None or ctx.store.head(key) is None:
        return None
    try:
        ref = ArtifactRef(noun=models.NOUN, fingerprint=str(json.loads(ctx.store.get(key))["fingerprint"]))
    except (ValueError, LookupError, TypeError):
        return None
    return ref if _is_whole(ref, ctx) else None


def _remember(model: Model, ref: ArtifactRef, ctx: StageContext) -> None:
    key = _memo(model)
    if key is not None:
        ctx.store.put(key, json.dumps({"noun": ref.noun, "fingerprint": ref.fingerprint}).encode(), replace=True)


def _memo(model: Model) -> str | None:
    """Where it is kept what the Hub gave; None where any of it lies elsewhere, or where another repository's commit is not pinned."""
    address = model.path or HUB_IDS[model.flavour]
    if model.HasField("vae") or model.config or not layout.is_hub_id(address):
        return None
    return f"{UPLOADS}/hub/{fingerprint(address, model.revision, model.variant)}.json"
