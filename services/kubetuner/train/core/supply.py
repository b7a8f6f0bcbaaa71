"""Where latents and text embeddings come from in a training: read from the cache, or made when a batch first asks for them.

Made ones are encoded one at a time: their bits then do not depend on which others are in the cache already, and a resumed run gets
the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

import torch

from kubetuner.artifacts.cache import text_key
from kubetuner.artifacts.pool import Item, Pool
from kubetuner.context import StageContext
from kubetuner.diffusion.encoders import TextEncoder, VaeEncoder, unpack
from kubetuner.diffusion.pictures import Pictures, Row

_SHARD: Final = 64


class TextSupply(Protocol):
    """Text embeddings by caption."""

    def get(self, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states [77, 2048] and pooled output [1280]."""


class LatentSupply(Protocol):
    """Moments of latents by key."""

    @property
    def scaling(self) -> float:
        """What latents are multiplied by for the U-Net."""

    def get(self, key: str, row: Row) -> torch.Tensor:
        """Moments [2, 4, h, w] of the picture in a row of the manifest."""


class Kept:
    """Items of a pool; those it lacks are made, and kept in shards where the mode asks for it."""

    def __init__(self, pool: Pool, *, keep: bool) -> None:
        self._pool, self._keep = pool, keep
        self._fresh: dict[str, Item] = {}
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], Item]) -> Item:
        """The item of a key."""
        with self._lock:
            if key in self._fresh:
                return self._fresh[key]
            if self._keep and not self._pool.missing([key]):
                return self._pool.read(key)
            item = make()
            if self._keep:
                self._fresh[key] = item
                if len(self._fresh) >= _SHARD:
                    self._flush()
            return item

    def flush(self) -> None:
        """Write what has been made since the last shard."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        # Items of a shard have one shape; latents come in several.
        shapes: dict[tuple[int, ...], dict[str, Item]] = {}
        for key, item in self._fresh.items():
            shapes.setdefault(next(iter(item.values())).shape, {})[key] = item
        for items in shapes.values():
            self._pool.write(items)
        self._fresh = {}


class CachedTexts:
    """Text embeddings that embed has made."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def get(self, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        return _embedding(self._pool.read(text_key(caption)))


class MadeTexts:
    """Text embeddings made on demand."""

    def __init__(self, kept: Kept, encoder: TextEncoder, ctx: StageContext) -> None:
        self._kept, self._encoder, self._ctx = kept, encoder, ctx

    def get(self, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        def make() -> Item:
            self._ctx.work["captionsEncoded"] += 1
            return self._encoder.encode([caption])[0]

        return _embedding(self._kept.get(text_key(caption), make))


class CachedLatents:
    """Latents that embed has made."""

    def __init__(self, pool: Pool, scaling: float) -> None:
        self._pool, self.scaling = pool, scaling

    def get(self, key: str, row: Row) -> torch.Tensor:
        return unpack(self._pool.read(key)["moments"])


class MadeLatents:
    """Latents made on demand."""

    def __init__(self, kept: Kept, encoder: VaeEncoder, pictures: Pictures, ctx: StageContext) -> None:
        self._kept, self._encoder, self._pictures, self._ctx = kept, encoder, pictures, ctx
        self.scaling = encoder.scaling

    def get(self, key: str, row: Row) -> torch.Tensor:
        def make() -> Item:
            self._ctx.work["imagesEncoded"] += 1
            return self._encoder.encode([self._pictures.load(row)], [f"{row['path']} of dataset {row['dataset']}"])[0]

        return unpack(self._kept.get(key, make)["moments"])


def _embedding(item: Item) -> tuple[torch.Tensor, torch.Tensor]:
    return unpack(item["hidden"]), unpack(item["pooled"])
