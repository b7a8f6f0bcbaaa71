"""A thousand damaged objects: whoever reads one gets what was written, or an ArtifactError; never anything else."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from kubetuner.artifacts import cache, checkpoint, facts, inventory, manifest, objects, report
from kubetuner.artifacts.facts import Fact
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.artifacts.pool import Array, Pool
from kubetuner.errors import ArtifactError
from kubetuner.storage.memory import MemoryStore

COUNT: Final = 1000
ENCODER: Final = "e" * 40
TRAINING: Final = "c" * 40
MANIFEST: Final = ArtifactRef(noun="manifest", fingerprint="a" * 40)
CACHE: Final = ArtifactRef(noun="cache", fingerprint="b" * 40)
FINISHED: Final = ArtifactRef(noun="checkpoint", fingerprint=TRAINING)
REPORT: Final = ArtifactRef(noun="report", fingerprint="d" * 40)
LOSSES: Final = ArtifactRef(noun="losses", fingerprint="f" * 40)
SHA: Final = hashlib.sha256(b"file").digest()


def item(number: int) -> dict[str, Array]:
    return {"hidden": Array(dtype="F32", shape=(2, 3), data=bytes([number] * 24)), "pooled": Array(dtype="BF16", shape=(2,), data=b"abcd")}


def filled() -> MemoryStore:
    """A store with one artifact of each noun."""
    store = MemoryStore()
    facts.write(store, {SHA: Fact(pixels="ab" * 32, width=3, height=4)})
    blank = {field.name: {"int32": 1, "int64": 1, "bool": True}.get(str(field.type), "x") for field in manifest.SCHEMA} | {
        "captions": ["c"]
    }
    manifest.write(store, MANIFEST, manifest.SCHEMA.empty_table().from_pylist([blank], schema=manifest.SCHEMA), {"datasets": []})
    for noun in (cache.TEXTS, cache.LATENTS):
        Pool(store, noun, ENCODER).write({key: item(number) for number, key in enumerate("abc")})
    shards = {noun: [Pool(store, noun, ENCODER).shard_of("abc").fingerprint] for noun in (cache.TEXTS, cache.LATENTS)}
    encoders = dict.fromkeys(shards, ENCODER)
    modes = dict.fromkeys(shards, "eager")
    cache.commit(store, CACHE, manifest=MANIFEST, encoders=encoders, modes=modes, shards=shards)
    checkpoint.save(store, TRAINING, 2, {"optimizer": {"a": 1}}, {"adapter.safetensors": b"weights", "history.json": b"[]"})
    state = checkpoint.reference(TRAINING, 2).fingerprint
    checkpoint.finish(store, TRAINING, {"steps": [{"step": 2, "fingerprint": state}], "final": state}, [{"step": 1, "loss": 0.5}])
    report.commit(
        store, REPORT, checkpoint=FINISHED, exports={"x": "y"}, document={"images": []}, parts=[], images={"images/0.png": b"png"}
    )
    objects.commit(store, LOSSES, {"losses": [[0.25]]}, {})
    return store


def _pool(noun: str) -> Callable[[MemoryStore], object]:
    def read(store: MemoryStore) -> object:
        pool = Pool(store, noun, ENCODER)
        pool.refresh()
        return [pool.read(key) for key in "abc"]

    return read


def _saved(store: MemoryStore) -> object:
    return [
        (one.step, one.index, objects.read(store, one.ref, one.index, "adapter.safetensors")) for one in checkpoint.saved(store, TRAINING)
    ]


def _finished(store: MemoryStore) -> object:
    index, gone = checkpoint.find(store, FINISHED)
    return index and (index, gone, checkpoint.history(store, FINISHED, index))


def _report(store: MemoryStore) -> object:
    found = report.read(store, REPORT)
    return found.document, found.checkpoint, found.image("images/0.png")


READERS: Final[dict[str, Callable[[MemoryStore], object]]] = {  # by noun, and what of it they read
    "facts": lambda store: facts.load(store).get(SHA, face=False),
    "manifest": lambda store: manifest.read(store, MANIFEST).table.to_pylist(),
    "cache": lambda store: cache.find(store, CACHE),
    "texts": _pool(cache.TEXTS),
    "latents": _pool(cache.LATENTS),
    "checkpoint state": _saved,
    "checkpoint": _finished,
    "report": _report,
    "losses": lambda store: objects.find(store, LOSSES),
}


def change(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Bits flipped, cut short, longer, another object's content, or JSON with another value that still reads well."""
    kind = draw.randrange(6)
    if kind == 0:
        return content[: draw.randrange(len(content))]
    if kind == 1:
        return content + draw.randbytes(draw.randrange(1, 50))
    if kind == 2:
        return draw.choice(others)
    if kind == 3 and content[:1] == b"{":
        document = json.loads(content)
        _change_value(document, draw)
        return json.dumps(document).encode()
    changed = bytearray(content)
    for _ in range(draw.choice([1, 3, 30])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _change_value(document: Any, draw: random.Random) -> None:
    at = document
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(at[key], (dict, list)) and draw.random() < 0.7:
            at = at[key]
            continue
        if draw.random() < 0.2:
            del at[key]
        else:
            at[key] = draw.choice([None, -1, 2**70, "", "../x", [], {}, True, 1e308])
        return


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    store = filled()
    return {info.key: store.get(info.key) for info in store.list()}


def test_a_damaged_object_is_refused_by_name_or_read_as_it_was_written(whole: dict[str, bytes]) -> None:
    draw = random.Random(4)
    keys = sorted(whole)
    expected = {name: read(filled()) for name, read in READERS.items()}
    refused = 0
    for number in range(COUNT):
        victim = keys[number % len(keys)]
        content = change(whole[victim], [whole[key] for key in keys if key != victim], draw)
        store = MemoryStore()
        for key in keys:
            store.put(key, content if key == victim else whole[key])
        for name, read in READERS.items():
            if not victim.startswith(name.partition(" ")[0]):
                continue
            try:
                found = read(store)
            except ArtifactError as error:
                refused += 1
                prefix = victim.rpartition("/images/")[0] or victim.rpartition("/")[0]
                known = str(error).startswith(prefix) and f"store rm --force {prefix}`" in str(error)
                assert known, (number, victim, str(error))  # noqa: PT017 (of each of a thousand)
            else:
                assert found == expected[name], (number, victim, name)
        assert inventory.survey(store).nodes
    assert refused > COUNT * 0.8
