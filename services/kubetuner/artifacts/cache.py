"""The cache: which encoded texts and latents belong to a manifest.

It holds no tensors itself: its index names the encoders and the shards of the two pools that texts and latents are shared in.
Where a mode is not `eager`, the shards of that kind are left open and the training fills them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef, Json, fingerprint
from kubetuner.artifacts.pool import Pool
from kubetuner.storage import ObjectStore

TEXTS: Final = "texts"
LATENTS: Final = "latents"
_FORMAT: Final = 1


def text_key(caption: str) -> str:
    """Key of a caption's embedding in the pool of an encoder."""
    return fingerprint("text", caption)[:32]


def latent_key(pixels: str, resized: Sequence[int], crop: Sequence[int], target: Sequence[int]) -> str:
    """Key of a picture's latent in the pool of an autoencoder.

    `pixels` is the hash of the picture's normalised pixels, `resized` and `target` are (width, height), `crop` is (top, left).
    """
    return fingerprint("latent", pixels, list(resized), list(crop), list(target))[:32]


def reference(manifest: ArtifactRef, text_encoder: str, vae: str, modes: Json) -> ArtifactRef:
    """Name of the cache of a manifest by these encoders (their digests) in these modes."""
    return ArtifactRef(noun="cache", fingerprint=fingerprint("cache", _FORMAT, manifest.fingerprint, text_encoder, vae, modes))


def commit(store: ObjectStore, ref: ArtifactRef, *, manifest: ArtifactRef, encoders: Json, modes: Json, shards: Json) -> ArtifactRef:
    """Finish a cache whose shards are all written.

    `encoders`, `modes` and `shards` have the keys `texts` and `latents`; `shards` holds fingerprints, or None where the training encodes.
    """
    index = {
        "format": _FORMAT,
        "source": {"noun": manifest.noun, "fingerprint": manifest.fingerprint},
        "encoders": encoders,
        "modes": modes,
        "shards": shards,
    }
    return objects.commit(store, ref, index, {})


def find(store: ObjectStore, ref: ArtifactRef) -> tuple[Json | None, list[ArtifactRef]]:
    """The index of a finished cache, or None where it is not finished, and those of its shards that have gone from the store."""
    index = objects.find(store, ref)
    named = {} if index is None else index["shards"]
    return index, objects.gone(store, [ArtifactRef(noun=noun, fingerprint=name) for noun, names in named.items() for name in names or ()])


def open_pool(store: ObjectStore, index: Json, noun: str) -> Pool:
    """The pool of `texts` or `latents` that a cache names, with the shards it names learnt; with all there are where it left them open."""
    pool = Pool(store, noun, index["encoders"][noun])
    shards = index["shards"][noun]
    if shards is None:
        pool.refresh()
    else:
        pool.learn(shards)
    return pool


def source(index: Json) -> ArtifactRef:
    """The manifest that a cache was made from."""
    return ArtifactRef(**index["source"])
