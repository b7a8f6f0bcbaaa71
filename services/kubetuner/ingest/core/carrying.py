"""A model's files on their way: measured, then put into the store. What is large passes through a scratch folder, never through memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from kubetuner.artifacts.dataset import UPLOADS
from kubetuner.artifacts.files import File
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.context import StageContext
from kubetuner.diffusion import digests
from kubetuner.errors import ArtifactError, DataError
from kubetuner.ingest.core import checkpoint_file, origins
from kubetuner.ingest.core.checkpoint_file import Row
from kubetuner.ingest.core.model_plan import Item
from kubetuner.storage import transfer

_MIB: Final = 1 << 20
_LARGEST_SMALL: Final = 64 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A file whose content is known."""

    item: Item
    file: File
    tensors: Sequence[Row] = ()
    """What stands for its tensors, where it is taken out of a checkpoint."""


class Carrier:
    """Brings the files of one plan. Leaving it clears the scratch folder of what is in the store."""

    def __init__(self, items: Sequence[Item], ctx: StageContext) -> None:
        self._items = items
        self._ctx = ctx
        self._contents: dict[str, bytes] = {}
        self._scratch = transfer.cache_folder() / "arriving"
        self._arrived: set[Path] = set()
        self._bytes = 0

    def __enter__(self) -> Self:
        total = sum({(item.origin.name, item.found.path): item.found.size for item in self._items}.values())
        self._ctx.progress.start("ingest", "MiB of the base model", total // _MIB)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # else they are gone on from
            for path in self._arrived:
                path.unlink(missing_ok=True)

    def content(self, item: Item) -> bytes:
        """A small file."""
        if item.target not in self._contents:
            if item.found.size > _LARGEST_SMALL:
                raise DataError(f"model {item.origin.name}: {item.found.path} is {item.found.size} bytes long; it is no file of SDXL")
            self._contents[item.target] = item.origin.read(item.found.path, 0, item.found.size)
        return self._contents[item.target]

    def measure(self) -> list[Measured]:
        """Size and SHA-256 of all files; only what its place tells no SHA-256 of is read."""
        found = []
        for item in self._items:
            self._ctx.check()
            if item.part:
                found.append(self._taken_out(item))
            elif item.small:
                data = self.content(item)
                found.append(_measured(item, len(data), hashlib.sha256(data).hexdigest()))
            else:
                found.append(_measured(item, item.found.size, self._digest(item)))
        return found

    def put(self, ref: ArtifactRef, row: Measured) -> bool:
        """Bring one file into the model's place in the store; False where it is there already."""
        store, key = self._ctx.store, ref.key(row.file.path)
        if self._is_there(key, row.file):
            return False
        if row.item.small:
            store.put(key, self.content(row.item), replace=True)
        elif row.item.part:
            source, place = self._whole(row.item), self._place(row.file.sha256, row.file.path)
            self._write_part(source, row, place)
            store.put(key, place, replace=True)
            place.unlink(missing_ok=True)
        else:
            path = self._whole(row.item, row.file.sha256)
            before = digests.identity(path)
            store.put(key, path, replace=True)
            if digests.identity(path) != before:
                store.delete(key)
                raise DataError(f"model {row.item.origin.name}: {path} changed while it was brought; run again")
            if path in self._arrived:
                path.unlink(missing_ok=True)
        return True

    def _is_there(self, key: str, file: File) -> bool:
        store = self._ctx.store
        try:
            return store.head(key) == file.size and transfer.sha256(transfer.of(store, key), file.size, self._moved) == file.sha256
        except ArtifactError:  # deleted meanwhile
            return False

    def _digest(self, item: Item) -> str:
        """SHA-256 of a large file: as its place tells, as it was when it was last seen, or by bringing it."""
        told = origins.digest(item.origin, item.found)
        if told is not None:
            return told
        seen = self._recall(item.found.stamp)
        if seen is not None:
            return str(seen["sha256"])
        digest = digests.sha256(self._whole(item))
        self._note(item.found.stamp, {"sha256": digest})
        return digest

    def _taken_out(self, item: Item) -> Measured:
        """A part of a single-file checkpoint; what is known of a checkpoint with this content is not found out again."""
        stamp = f"taken out {item.part} {self._digest(item)}"
        seen = self._recall(stamp)
        if seen is None:
            whole = self._whole(item)
            part = checkpoint_file.part_of(whole, item.part)
            sha256 = hashlib.sha256()
            for chunk in checkpoint_file.content(whole, part):
                self._ctx.check()
                sha256.update(chunk)
            seen = {"size": part.size, "sha256": sha256.hexdigest(), "tensors": checkpoint_file.rows(whole, part)}
            self._note(stamp, seen)
        file = File(path=item.target, size=int(seen["size"]), sha256=str(seen["sha256"]))
        return Measured(item=item, file=file, tensors=seen["tensors"])

    def _whole(self, item: Item, sha256: str = "") -> Path:
        """A large file on this machine: where it lies, or in the scratch folder. Raises DataError where it is not the one meant."""
        local = item.origin.local(item.found.path)
        if local is not None:
            return local
        found = item.found
        wanted = sha256 or found.sha256 or ""
        place = self._place(item.origin.name, found.path, found.size, found.stamp)
        with transfer.locked(place.with_name(f".{place.name}.lock")):
            self._arrived |= {place, place.with_name(f".{place.name}.lock")}
            for _ in range(2):  # what an earlier process left of it may be of another file
                digest = transfer.into_file(
                    lambda start, length: item.origin.read(found.path, start, length), found.size, place, self._moved
                )
                if not wanted or digest == wanted:
                    return place
                place.unlink(missing_ok=True)
        raise DataError(f"model {item.origin.name}: {found.path} is not the file that it was (SHA-256 {digest}, not {wanted}); run again")

    def _write_part(self, whole: Path, row: Measured, place: Path) -> None:
        part, digest = checkpoint_file.part_of(whole, row.item.part), hashlib.sha256()
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(place, "wb") as file:
                for chunk in checkpoint_file.content(whole, part):
                    self._ctx.check()
                    digest.update(chunk)
                    file.write(chunk)
        except OSError as error:
            raise transfer.unwritable(place, error) from error
        if digest.hexdigest() != row.file.sha256:
            raise DataError(f"model {row.item.origin.name}: {whole} changed while it was brought; run again")

    def _place(self, *what: object) -> Path:
        return self._scratch / f"{fingerprint(*what)[:20]}-{os.getuid()}"

    def _moved(self, count: int) -> None:
        self._ctx.check()
        before, self._bytes = self._bytes, self._bytes + count
        if steps := self._bytes // _MIB - before // _MIB:
            self._ctx.progress.advance(steps)

    def _recall(self, stamp: str) -> Json | None:
        """What is known of a file of this stamp."""
        if not stamp:
            return None
        try:
            seen = json.loads(self._ctx.store.get(_memo(stamp)))
        except (ArtifactError, ValueError):
            return None
        return seen if isinstance(seen, dict) and "sha256" in seen else None

    def _note(self, stamp: str, seen: Json) -> None:
        if stamp:
            self._ctx.store.put(_memo(stamp), json.dumps(seen).encode(), replace=True)


def _measured(item: Item, size: int, sha256: str) -> Measured:
    return Measured(item=item, file=File(path=item.target, size=size, sha256=sha256))


def _memo(stamp: str) -> str:
    return f"{UPLOADS}/seen/{fingerprint(stamp)}.json"
