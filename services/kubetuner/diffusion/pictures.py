"""From a row of the manifest to the pixels that the model is shown; embed and train read pictures by this way only. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kubetuner.artifacts.cache import latent_key
from kubetuner.artifacts.manifest import decode_path
from kubetuner.diffusion import pixels
from kubetuner.diffusion.conditioning import Geometry
from kubetuner.errors import ArtifactError, DataError
from kubetuner.storage import ObjectStore
from kubetuner.storage.places import open_source
from kubetuner.v1alpha1.training_run_pb2 import Dataset

Row = Mapping[str, Any]
"""A row of the manifest as a dictionary."""


class Pictures:
    """The sources of a run's datasets. Threads may share it."""

    def __init__(self, datasets: Iterable[Dataset], base: Path, store: ObjectStore | None = None) -> None:
        """Relative folders start at `base`; `store` is the run's own."""
        self._sources: dict[str, ObjectStore] = {
            dataset.id: open_source(
                dataset.source.uri,
                path=f"spec.datasets[{position}].source.uri",
                base=base,
                store=store,
                secret=dataset.source.secret,
            )
            for position, dataset in enumerate(datasets)
            if not dataset.disabled
        }

    def load(self, row: Row) -> np.ndarray:
        """The row's picture, resized and cropped: bytes [H, W, 3]. Raises DataError where the file is not the one of the manifest."""
        source = self._sources[row["dataset"]]
        try:
            data = source.get(decode_path(row["path"]))
        except ArtifactError as error:
            raise DataError(
                f"{row['path']} of dataset {row['dataset']} has gone since it was ingested; run again to take the data as it is now"
            ) from error
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise DataError(
                f"{row['path']} of dataset {row['dataset']} has changed since it was ingested; run again to take the data as it is now"
            )
        place = geometry(row)
        return pixels.fit(
            pixels.decode(data),
            resized=(place.resized_width, place.resized_height),
            crop=(place.crop_top, place.crop_left),
            target=(place.target_width, place.target_height),
        )


def geometry(row: Row) -> Geometry:
    """How a row's picture is resized and cropped."""
    return Geometry(**{name: int(row[name]) for name in Geometry.__dataclass_fields__})


def key_of(row: Row) -> str:
    """Key of the row's latent in the pool of an autoencoder."""
    place = geometry(row)
    return latent_key(
        row["pixels"],
        (place.resized_width, place.resized_height),
        (place.crop_top, place.crop_left),
        (place.target_width, place.target_height),
    )
