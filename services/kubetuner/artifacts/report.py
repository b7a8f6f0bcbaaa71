"""The report: what the images and scores of a finished training are.

report/<fingerprint>/index.json       which checkpoint it is about, digests of the verified exports
report/<fingerprint>/report.json      scores, curves, counts; images by name
report/<fingerprint>/images/*.png     base and tuned images, and pictures of the datasets
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.storage import ObjectStore

NOUN: Final = "report"
_DOCUMENT: Final = "report.json"
_FORMAT: Final = 1


def reference(checkpoint: ArtifactRef, evaluate: Json, model: Mapping[str, str]) -> ArtifactRef:
    """Name of the report on a checkpoint; `evaluate` is the keyed part of the spec, `model` the digest of each part of the base model."""
    return ArtifactRef(noun=NOUN, fingerprint=fingerprint("report", _FORMAT, checkpoint.fingerprint, evaluate, dict(model)))


@dataclass(frozen=True)
class Report:
    """A finished report, checked as it is read."""

    store: ObjectStore
    ref: ArtifactRef
    index: Json
    document: Json
    """The content of report.json."""

    def image(self, name: str) -> bytes:
        """An image of the document by its name, as PNG."""
        return objects.read(self.store, self.ref, self.index, name)

    @property
    def images(self) -> list[str]:
        """Names of all images."""
        return [row["name"] for row in self.index["objects"] if row["name"].startswith("images/")]

    @property
    def checkpoint(self) -> ArtifactRef:
        """The training that it is about."""
        return ArtifactRef(**self.index["source"])


def commit(
    store: ObjectStore,
    ref: ArtifactRef,
    *,
    checkpoint: ArtifactRef,
    parts: Iterable[ArtifactRef],
    exports: Json,
    document: Json,
    images: Mapping[str, bytes],
) -> ArtifactRef:
    """Finish a report. `parts` are the images, losses and texts that it was put together from, shared with other reports; `exports`
    holds the digest of each verified file's tensors."""
    source = {"noun": checkpoint.noun, "fingerprint": checkpoint.fingerprint}
    named = sorted({(part.noun, part.fingerprint) for part in parts})
    rows = [{"noun": noun, "fingerprint": name} for noun, name in named]
    index = {"format": _FORMAT, "source": source, "parts": rows, "exports": exports}
    return objects.commit(store, ref, index, {_DOCUMENT: objects.canonical(document), **images})


def read(store: ObjectStore, ref: ArtifactRef) -> Report:
    """A report by its name. Raises ArtifactError where it is missing or damaged."""
    index = objects.load(store, ref)
    document = cast(Json, json.loads(objects.read(store, ref, index, _DOCUMENT)))
    return Report(store=store, ref=ref, index=index, document=document)
