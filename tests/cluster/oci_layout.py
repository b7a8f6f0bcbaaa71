"""A folder of images by content (an OCI layout), and archives of it that leave out what their reader has already.

Layers are kept unpacked, under the digest of their tar: then buildah finds those that it knows and does not write them again, and a changed
line of code costs no gigabytes on its way to a node.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

_NAME: Final = "org.opencontainers.image.ref.name"
_NAME_FOR_CONTAINERD: Final = "io.containerd.image.name"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folder."""

    folder: Path

    def unpack(self, tag: str) -> None:
        """Put the unpacked layers of an image in the place of the packed ones that buildah has written."""
        manifest = self._manifest(tag)
        for layer, digest in zip(manifest["layers"], self._layers(manifest), strict=True):
            packed, whole = self._blob(layer["digest"]), self._blob(digest)
            if not whole.exists():
                _unpack(packed, whole)
            if packed != whole:
                packed.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove images that have lost their names to later ones, and what none is made of any more."""
        file = self.folder / "index.json"
        index = json.loads(file.read_text())
        rows = index["manifests"] = [row for row in index["manifests"] if _NAME in row.get("annotations", {})]
        file.write_text(json.dumps(index))
        kept = {row["digest"] for row in rows}
        for row in rows:
            manifest = json.loads(self._blob(row["digest"]).read_text())
            kept |= {manifest["config"]["digest"], *self._layers(manifest)}
        for blob in (self.folder / "blobs" / "sha256").iterdir():
            if f"sha256:{blob.name}" not in kept:
                blob.unlink()

    def size(self, tags: Sequence[str], *, without: Collection[str]) -> int:
        """Bytes of the layers that an archive would have."""
        digests = {layer for tag in tags for layer in self._layers(self._manifest(tag))} - set(without)
        return sum(self._blob(digest).stat().st_size for digest in digests)

    def archive(self, tags: Sequence[str], file: IO[bytes], *, without: Collection[str]) -> None:
        """Write an archive of these images, whose layers are unpacked; layers of these digests are left out."""
        written: set[str] = set()
        with tarfile.open(fileobj=file, mode="w|") as tar:
            _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
            rows = []
            for tag in tags:
                text = self._rewritten(tag)
                digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
                notes = {_NAME: tag, _NAME_FOR_CONTAINERD: tag}
                rows.append({"mediaType": _MANIFEST, "digest": digest, "size": len(text), "annotations": notes})
                _add(tar, _inside(digest), text)
                manifest = json.loads(text)
                for part in (manifest["config"], *manifest["layers"]):
                    if part["digest"] not in written and part["digest"] not in without:
                        tar.add(self._blob(part["digest"]), _inside(part["digest"]))
                        written.add(part["digest"])
            _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": rows}).encode())

    def _rewritten(self, tag: str) -> bytes:
        """The manifest of an image as it is with unpacked layers."""
        manifest = self._manifest(tag)
        layers = [{"mediaType": _LAYER, "digest": digest, "size": self._blob(digest).stat().st_size} for digest in self._layers(manifest)]
        return json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": manifest["config"], "layers": layers}).encode()

    def _manifest(self, tag: str) -> dict[str, Any]:
        rows = json.loads((self.folder / "index.json").read_text())["manifests"]
        digest = next(row["digest"] for row in rows if row.get("annotations", {}).get(_NAME) == tag)
        manifest: dict[str, Any] = json.loads(self._blob(digest).read_text())
        return manifest

    def _layers(self, manifest: dict[str, Any]) -> list[str]:
        digests: list[str] = json.loads(self._blob(manifest["config"]["digest"]).read_text())["rootfs"]["diff_ids"]
        return digests

    def _blob(self, digest: str) -> Path:
        return self.folder / _inside(digest)


def _unpack(packed: Path, whole: Path) -> None:
    beside = whole.with_suffix(".part")
    with open(packed, "rb") as start:
        is_packed = start.read(2) == _GZIP
    with (gzip.open if is_packed else open)(packed, "rb") as source, open(beside, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    beside.replace(whole)


def _inside(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
