"""Encoded items, each made once for ever: the texts and latents that all runs and users of a store share.

A pool holds what one encoder made. Its items lie in shards, each an artifact of its own:

    texts/<encoder>-<items>/index.json      which items, their digests, where in the data they lie
    texts/<encoder>-<items>/data.safetensors

An item is found by its key, a hash of everything that decides its content, so nothing in a pool can go stale.
Items are read one at a time by range and checked against their own digest.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.errors import ArtifactError
from kubetuner.storage import ObjectStore

_DATA: Final = "data.safetensors"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """A tensor as plain bytes, so that the store needs no torch."""

    dtype: str
    """safetensors' name of the element type: F32, F16, BF16."""
    shape: tuple[int, ...]
    data: bytes


Item = Mapping[str, Array]
"""The tensors of one item by name; all items of a shard have the same names, types and shapes."""


@dataclass(frozen=True, slots=True)
class _Place:
    shard: ArtifactRef
    slot: int
    digest: str


class Pool:
    """The items of one encoder in a store. Threads may share it."""

    def __init__(self, store: ObjectStore, noun: str, encoder: str) -> None:
        self.store = store
        self.noun = noun
        self.encoder = encoder[:16]
        self._places: dict[str, _Place] = {}
        self._layouts: dict[str, Json] = {}
        self._objects: dict[str, str] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Learn of the shards that this or another run has written since."""
        for info in self.store.list(f"{self.noun}/{self.encoder}-"):
            prefix, _, name = info.key.rpartition("/")
            if name == "index.json":
                self._learn(ArtifactRef(noun=self.noun, fingerprint=prefix.partition("/")[2]))

    def learn(self, fingerprints: Iterable[str]) -> None:
        """Learn of the shards that an index names; each must be there."""
        for name in fingerprints:
            self._learn(ArtifactRef(noun=self.noun, fingerprint=name))

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that no known shard holds, in their order."""
        return [key for key in keys if key not in self._places]

    def shard_of(self, keys: Iterable[str]) -> ArtifactRef:
        """Name of the shard that holds exactly these items."""
        return ArtifactRef(noun=self.noun, fingerprint=f"{self.encoder}-{fingerprint(sorted(keys))[:24]}")

    def look_for(self, shard: ArtifactRef) -> bool:
        """Whether somebody has written this shard meanwhile; if so, learn it."""
        if self.store.head(shard.key("index.json")) is None:
            return False
        self._learn(shard)
        return True

    def shards(self, keys: Iterable[str]) -> list[str]:
        """Fingerprints of the shards that hold the keys, sorted."""
        return sorted({self._places[key].shard.fingerprint for key in keys})

    def holding(self, keys: Iterable[str]) -> list[ArtifactRef]:
        """The shards that hold those of the keys which are here, each once."""
        return list(dict.fromkeys(self._places[key].shard for key in keys if key in self._places))

    def write(self, items: Mapping[str, Item]) -> None:
        """Keep items in one new shard."""
        keys = sorted(items)
        ref = self.shard_of(keys)
        first = items[keys[0]]
        columns = {
            name: Array(dtype=array.dtype, shape=(len(keys), *array.shape), data=b"".join(items[key][name].data for key in keys))
            for name, array in sorted(first.items())
        }
        data, offsets = _serialize(columns)
        index = {
            "format": _FORMAT,
            "encoder": self.encoder,
            "items": keys,
            "digests": [_digest(items[key][name].data for name in sorted(first)) for key in keys],
            "tensors": {
                name: {"dtype": array.dtype, "shape": list(array.shape), "offset": start, "size": len(array.data)}
                for (name, array), start in zip(sorted(first.items()), offsets, strict=True)
            },
        }
        objects.commit(self.store, ref, index, {_DATA: data})
        self._learn(ref)

    def read(self, key: str) -> dict[str, Array]:
        """One item, checked. Raises ArtifactError where it is missing or damaged."""
        place = self._places.get(key)
        if place is None:
            raise ArtifactError(f"{self.noun}: no shard holds the item {key}; run the stage embed again")
        tensors = self._layouts[place.shard.fingerprint]
        with objects.reading(place.shard, _DATA):
            arrays = {
                name: Array(
                    dtype=row["dtype"],
                    shape=tuple(row["shape"]),
                    data=self.store.get(self._objects[place.shard.fingerprint], row["offset"] + place.slot * row["size"], row["size"]),
                )
                for name, row in tensors.items()
            }
        if _digest(arrays[name].data for name in sorted(arrays)) != place.digest:
            raise objects.damaged(place.shard, _DATA, f"item {place.slot} differs from its digest")
        return arrays

    def _learn(self, ref: ArtifactRef) -> None:
        with self._lock:
            if ref.fingerprint in self._layouts:
                return
            index = objects.load(self.store, ref)
            [row] = index["objects"]
            self._objects[ref.fingerprint] = objects.key_of(ref, row)
            self._layouts[ref.fingerprint] = index["tensors"]
            for slot, (key, digest) in enumerate(zip(index["items"], index["digests"], strict=True)):
                self._places.setdefault(key, _Place(ref, slot, digest))


def _digest(parts: Iterable[bytes]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()[:32]


def _serialize(tensors: Mapping[str, Array]) -> tuple[bytes, list[int]]:
    """A safetensors file, and where in it each tensor begins.

    The package writes only what numpy or torch can name; numpy has no bf16 and this layer has no torch. The format is an 8-byte
    length, a JSON header padded to 8 bytes, and the data.
    """
    header: Json = {}
    end = 0
    for name, array in tensors.items():
        header[name] = {"dtype": array.dtype, "shape": list(array.shape), "data_offsets": [end, end + len(array.data)]}
        end += len(array.data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    content = struct.pack("<Q", len(text)) + text + b"".join(array.data for array in tensors.values())
    return content, [start + row["data_offsets"][0] for row in header.values()]
