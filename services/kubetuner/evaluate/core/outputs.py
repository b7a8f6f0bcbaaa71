"""The files that a user takes away: the exports, the report page, the resolved run and the result.

Each file is written beside its place and renamed into it, so that it is whole or absent; equal inputs give equal bytes.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kubetuner.artifacts import cache, objects, outputs, report
from kubetuner.artifacts import manifest as manifests
from kubetuner.artifacts import model as models
from kubetuner.artifacts.objects import ArtifactRef, Json
from kubetuner.artifacts.report import Report
from kubetuner.diffusion import lora_header, tensors
from kubetuner.diffusion.load import ModelSource, load_unet, open_model
from kubetuner.diffusion.lora_header import Training
from kubetuner.diffusion.precision import choose_device, choose_dtype
from kubetuner.errors import InputError, KubeTunerError
from kubetuner.evaluate.core import document, export, full, page, settings, weights
from kubetuner.spec.resolve import to_yaml
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1.training_run_pb2 import Model, TrainingRun

Open = Callable[[], ModelSource]
"""Opens the base model, which only some exports need."""


def write_outputs(
    store: ObjectStore,
    report_ref: ArtifactRef,
    run: TrainingRun,
    out: Path,
    result: Mapping[str, Any],
    *,
    base: Path | None = None,
    model: Model | None = None,
) -> None:
    """Write the files of `--out`. `run` is resolved; `base` is the folder that relative paths of the run start at.

    `model` is the base model where it lies now, which need not be where the run names it. Raises ExportError where an export's tensors are
    not those that were verified; result.json is written last.
    """
    _write_kept(store, report_ref, run, out, _opener(store, run, base, model))
    _write(out / outputs.RESOLVED, to_yaml(run).encode("utf-8"))
    _write(out / outputs.RESULT, outputs.document(result))


def keep_outputs(store: ObjectStore, report_ref: ArtifactRef, run: TrainingRun, *, base: Path | None = None, uid: str = "") -> ArtifactRef:
    """Keep the same files in the store, for those who ask a cluster for them; equal inputs find them there. `uid` is the run's there."""
    target = outputs.reference(report_ref, run)
    if objects.find(store, target) is not None:
        return target
    with export.scratch() as folder:
        _write_kept(store, report_ref, run, folder, _opener(store, run, base, None))
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        return outputs.commit(store, target, report=report_ref, run=run, files=files, uid=uid)


def _opener(store: ObjectStore, run: TrainingRun, base: Path | None, model: Model | None) -> Open:
    return partial(open_model, model or run.spec.model, base=base or Path.cwd(), store=store)


def _write_kept(store: ObjectStore, report_ref: ArtifactRef, run: TrainingRun, out: Path, opened: Open) -> None:
    """The exports and the report: what is the same wherever it was made."""
    found = report.read(store, report_ref)
    training = objects.load(store, found.checkpoint)
    state = weights.read_state(store, training, training["final"])
    header = _training(store, training, found, run)
    _make_folder(out / "report" / "images")
    _write_exports(out, found, training, state, header, run, opened)
    for name in found.images:
        _write(out / "report" / name, found.image(name))
    named = {"name": run.metadata.name, "report": report_ref.fingerprint}
    _write(out / "report" / "report.json", outputs.document(found.document | named))
    _write(out / "report" / "index.html", page.render(found, run).encode("utf-8"))


def write_step(
    store: ObjectStore,
    report_ref: ArtifactRef,
    run: TrainingRun,
    step: int,
    out: Path,
    *,
    base: Path | None = None,
    model: Model | None = None,
    device: str = "auto",
) -> None:
    """Write the exports of a kept step other than the last, verified like the last one's. Raises InputError where it was not kept."""
    opened = _opener(store, run, base, model)
    found = report.read(store, report_ref)
    training = objects.load(store, found.checkpoint)
    kept = [row for row in training["steps"] if row["step"] <= step]
    if not kept or kept[-1]["step"] != step:
        raise InputError(f"--step: step {step} was not kept; kept are {', '.join(str(row['step']) for row in training['steps'])}")
    training = {**training, "steps": kept, "final": kept[-1]["fingerprint"]}
    state = weights.read_state(store, training, training["final"])
    digests = _verified(run, training, state, opened(), choose_device(device))
    found = replace(found, index={**found.index, "exports": digests})
    _make_folder(out)
    _write_exports(out, found, training, state, _training(store, training, found, run), run, opened)


def _verified(
    run: TrainingRun, training: Json, state: Mapping[str, torch.Tensor], source: ModelSource, device: torch.device
) -> dict[str, str]:
    if training["weights"] == "unet":
        return full.verify(source, state)
    unet = load_unet(source, dtype=choose_dtype(run.spec.train.mixed_precision, device), device=device)
    weights.wear(unet, training, state)
    return export.verify_lora(unet, training, state)


def _write_exports(
    out: Path, found: Report, training: Json, state: Mapping[str, torch.Tensor], header: Training, run: TrainingRun, opened: Open
) -> None:
    if training["weights"] == "adapter":
        _write_lora(out, found, training, state, header)
    else:
        _write_full(out, found, state, header, run, opened())


def _write_lora(out: Path, found: Report, training: Json, state: Mapping[str, torch.Tensor], header: Training) -> None:
    rank, alpha = training["adapter"]["rank"], training["adapter"]["alpha"]
    _make_folder(out / "diffusers")
    for name, (layout, least) in export.lora_layouts(training, state, found.document["unet"]).items():
        metadata = least or lora_header.kohya(layout, header, rank=rank, alpha=alpha)
        with _in_place(out / name) as path:
            _expect(found, name, tensors.write(path, tensors.entries(layout), metadata))


def _write_full(
    out: Path, found: Report, state: Mapping[str, torch.Tensor], header: Training, run: TrainingRun, source: ModelSource
) -> None:
    digest = found.index["exports"][full.SINGLE]
    with _in_place(out / full.SINGLE) as path:
        rows = full.single_file_entries(source, state)
        _expect(found, full.SINGLE, tensors.write(path, rows, lora_header.modelspec(header, data_sha256=digest)))
    with _in_place(out / full.FOLDER) as folder:
        full.write_folder(folder, source, state, prediction_type=header.prediction_type, zero_snr=run.spec.train.rescale_betas_zero_snr)


def _expect(found: Report, name: str, digest: str) -> None:
    if digest != found.index["exports"][name]:
        raise export.ExportError(f"{name}: its tensors are not those that were verified; delete {found.ref.prefix} and run again")


def _training(store: ObjectStore, training: Json, found: Report, run: TrainingRun) -> Training:
    """What the exports' headers tell."""
    embedded = objects.load(store, ArtifactRef(**training["source"]))
    manifest = manifests.read(store, cache.source(embedded))
    return Training(
        name=run.metadata.name,
        settings=settings.kohya(run.spec, training, manifest, found.document["model"], _model_name(store, run)),
        captions=document.caption_counts(manifest),
        prediction_type=found.document["training"]["predictionType"],
    )


def _model_name(store: ObjectStore, run: TrainingRun) -> str:
    return models.name_of(store, run.spec.model.path, run.spec.model.flavour)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> KubeTunerError:
    return KubeTunerError(f"{path}: cannot be written ({error.strerror}); free the place or choose another --out and run again")


def _write(path: Path, data: bytes) -> None:
    with _in_place(path) as beside:
        beside.write_bytes(data)


@contextmanager
def _in_place(path: Path) -> Iterator[Path]:
    """A free name beside `path`; what is written there takes the place of what stood at `path`, whole or not at all."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield beside
        if path.is_dir() and beside.is_dir():
            old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
            os.replace(path, old)
            os.replace(beside, path)
            shutil.rmtree(old)
        else:
            os.replace(beside, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        _remove(beside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
