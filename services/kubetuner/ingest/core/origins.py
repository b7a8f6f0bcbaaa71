"""Where a base model's files may lie before they are brought into the store, all read by ranges.

A folder, a mounted volume, a prefix of the store, an object server, or the Hub. Nothing is read until it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubetuner.artifacts import dataset
from kubetuner.artifacts import model as models
from kubetuner.artifacts.files import File
from kubetuner.context import StageContext
from kubetuner.diffusion import digests, layout
from kubetuner.errors import DataError, SpecError
from kubetuner.ingest.core.hub import Hub, Repository
from kubetuner.storage import ObjectStore, open_store, places
from kubetuner.storage.directory import DirectoryStore
from kubetuner.v1alpha1.training_run_pb2 import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file as its place tells of it."""

    path: str
    size: int
    sha256: str | None = None
    """Where the place knows it."""
    stamp: str = ""
    """Changes whenever the file does; empty where the place does not tell."""


class Origin(Protocol):
    """A place that holds a model."""

    @property
    def name(self) -> str:
        """As the user wrote it."""

    def files(self) -> Iterable[Found]:
        """All files below it."""

    def read(self, path: str, start: int, length: int) -> bytes:
        """Bytes of a file."""

    def local(self, path: str) -> Path | None:
        """The file on this machine, where it is on it."""


@dataclass(frozen=True, kw_only=True)
class StoreOrigin:
    """A folder or a prefix."""

    name: str
    store: ObjectStore
    known: dict[str, File]
    """Files whose content is known without reading them."""

    def files(self) -> Iterable[Found]:
        for info in self.store.list():
            known = self.known.get(info.key)
            stamp = f"{self.store.uri}/{info.key} {info.size} {info.modified!r}" if self._is_server else ""
            yield Found(path=info.key, size=info.size, sha256=known.sha256 if known else None, stamp=stamp)

    @property
    def _is_server(self) -> bool:
        """Folders are hashed again: volumes of two namespaces may have one name."""
        return self.store.uri.startswith(places.S3)

    def read(self, path: str, start: int, length: int) -> bytes:
        return self.store.get(path, start, length)

    def local(self, path: str) -> Path | None:
        return self.store.root / path if isinstance(self.store, DirectoryStore) else None


@dataclass(frozen=True, kw_only=True)
class HubOrigin:
    """A repository of the Hub at one commit."""

    name: str
    hub: Hub
    repository: Repository

    def files(self) -> Iterable[Found]:
        commit = f"{self.repository.hub_id}@{self.repository.commit}"
        return [Found(path=row.path, size=row.size, sha256=row.sha256, stamp=f"hub {commit} {row.path}") for row in self.repository.files]

    def read(self, path: str, start: int, length: int) -> bytes:
        return self.hub.read(self.repository, path, start, length)

    def local(self, path: str) -> Path | None:
        return None


def locate(field: str, address: str, model: Model, ctx: StageContext, *, revision: str = "") -> tuple[Origin, str]:
    """The place of an address, and the name of the single file there that is meant; empty where it is the whole place.

    Raises SpecError (at `field`) where there is none.
    """
    if not models.lies_elsewhere(address):
        local = layout.locate(field, address, ctx.base)
        if local is None:
            hub = Hub.of(path=field)
            return HubOrigin(name=address, hub=hub, repository=hub.look(address, revision)), ""
        folder, single = (local, "") if local.is_dir() else (local.parent, local.name)
        store = open_store(str(folder), path=field, create=False)
        return StoreOrigin(name=address, store=store, known={}), single
    uri, single = address.rstrip("/"), ""
    if uri.endswith(".safetensors"):
        uri, _, single = uri.rpartition("/")
    opened = places.open_source(uri, path=field, base=ctx.base, store=ctx.store, secret=model.secret, note=ctx.progress.note)
    known = dataset.digests_below(ctx.store, places.prefix_of(uri, field)) if uri.startswith(places.STORE) else {}
    if single and opened.head(single) is None:
        raise SpecError(field, f"{address!r}: there is no such file; give a folder in diffusers' layout or a .safetensors file")
    return StoreOrigin(name=address, store=opened, known=known), single


def digest(origin: Origin, found: Found) -> str | None:
    """SHA-256 of a file where it can be told without bringing it."""
    if found.sha256 is not None:
        return found.sha256
    local = origin.local(found.path)
    if local is None:
        return None
    try:
        return digests.sha256(local)
    except OSError as error:
        raise DataError(f"model {origin.name}: {local} cannot be read ({error.strerror}); give the right to read it") from error
