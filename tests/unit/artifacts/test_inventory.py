"""A store as nodes: what is there, what names what, read from real artifacts."""

from __future__ import annotations

import json

from kubetuner.artifacts import cache, checkpoint, facts, file_survey, inventory, manifest, objects, report
from kubetuner.artifacts.facts import Fact
from kubetuner.artifacts.inventory import survey
from kubetuner.artifacts.manifest import SCHEMA
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.artifacts.pool import Array, Pool
from kubetuner.storage.memory import MemoryStore

DIGEST = bytes(range(32))


def filled() -> MemoryStore:
    """One artifact of each noun that names others."""
    store = MemoryStore()
    facts.write(store, {DIGEST: Fact(width=1)})
    facts.write(store, {bytes(32): Fact(width=2)})
    row = {name: [] if name == "captions" else "" for name in SCHEMA.names} | {"sha256": DIGEST.hex(), "used": True}
    numbers = {field.name: 0 for field in SCHEMA if str(field.type).startswith("int")}
    table = SCHEMA.empty_table().from_pylist([row | numbers], schema=SCHEMA)
    rows = manifest.write(store, ArtifactRef(noun="manifest", fingerprint="m"), table, {})
    pool = Pool(store, "texts", "e" * 40)
    pool.write({"key": {"hidden": Array(dtype="U8", shape=(1,), data=b"1")}})
    cached = cache.commit(
        store,
        ArtifactRef(noun="cache", fingerprint="c"),
        manifest=rows,
        encoders={"texts": "e" * 40, "latents": "v" * 40},
        modes={},
        shards={"texts": pool.shards(["key"]), "latents": None},
    )
    checkpoint.save(store, "t", 2, {}, {"adapter.safetensors": b"1"})
    index = {"source": {"noun": cached.noun, "fingerprint": cached.fingerprint}, "steps": [{"step": 2, "fingerprint": "t-000000002"}]}
    training = checkpoint.finish(store, "t", index, [])
    image = ArtifactRef(noun="images", fingerprint="i")
    report.commit(
        store, ArtifactRef(noun="report", fingerprint="r"), checkpoint=training, parts=[image, image], exports={}, document={}, images={}
    )
    return store


def test_every_noun_tells_what_it_was_made_from() -> None:
    nodes = file_survey.survey(filled()).nodes
    names = {f"{ref.noun}/{ref.fingerprint[:2]}": {f"{to.noun}/{to.fingerprint[:2]}" for to in node.refers} for ref, node in nodes.items()}
    assert names["report/r"] == {"checkpoint/t", "images/i"}
    assert names["checkpoint/t"] == {"cache/c", "checkpoint/t-"}
    assert names["checkpoint/t-"] == set()
    assert names["cache/c"] == {"manifest/m", "texts/ee"}
    [known] = [node for ref, node in nodes.items() if ref.noun == "manifest"]
    assert {ref.noun for ref in known.refers} == {"facts"}
    assert len(known.refers) == 1


def test_a_cache_left_open_needs_its_pool() -> None:
    store = filled()
    Pool(store, "latents", "v" * 40).write({"key": {"moments": Array(dtype="U8", shape=(1,), data=b"1")}})
    found = survey(store)
    [shard] = [ref for ref in found.nodes if ref.noun == "latents"]
    assert found.referring(shard) == [ArtifactRef(noun="cache", fingerprint="c")]


def test_halves_damage_strays_claims_and_foreign_objects_are_told_apart() -> None:
    store = filled()
    store.put("images/half/image.png", b"1")
    store.put("losses/torn/index.json", b"{")
    store.put("report/r/report.json.0123", b"1")
    store.put("claims/texts/e-1", b"{}")
    store.put("holiday.jpg", b"1")
    store.put("images/alone", b"1")
    found = survey(store)
    assert not found.nodes[ArtifactRef(noun="images", fingerprint="half")].complete
    assert "losses/torn" in found.nodes[ArtifactRef(noun="losses", fingerprint="torn")].problem
    assert found.nodes[ArtifactRef(noun="report", fingerprint="r")].stray == ("report/r/report.json.0123",)
    assert ([info.key for info in found.claims], [info.key for info in found.others]) == (
        ["claims/texts/e-1"],
        ["holiday.jpg", "images/alone"],
    )


def test_an_object_under_its_other_name_is_no_stray() -> None:
    store = MemoryStore()
    ref = ArtifactRef(noun="images", fingerprint="i")
    store.put(ref.key("image.png"), b"left by another")
    objects.commit(store, ref, {}, {"image.png": b"mine"})
    assert survey(store).nodes[ref].stray == (ref.key("image.png"),)


def test_what_users_pushed_and_jobs_left_is_told_by_name() -> None:
    store = filled()
    model = "a" * 40
    for key in ("datasets/dog/a.png", "datasets/dog/deep/b.png", "models/tiny/unet/config.json", "uploads/datasets/dog/1.json"):
        store.put(key, b"1")
    request = {"spec": {"model": {"path": f"store:model/{model}"}, "datasets": [{"source": {"uri": "store:datasets/dog/deep"}}]}}
    store.put("jobs/j/request.json", json.dumps(request).encode())
    store.put("jobs/j/job.json", json.dumps({"model": {"fingerprint": "b" * 40, "noun": "model"}}).encode())
    store.put("jobs/k/job.json", b"{")
    store.put("results/train/1.json", b'{"noun": "checkpoint", "fingerprint": "t"}')
    found = file_survey.survey(store)
    assert {folder.name: len(folder.keys) for folder in found.folders} == {
        "datasets/dog": 2, "models/tiny": 1, "uploads": 1, "jobs/j": 2, "jobs/k": 1, "results/train": 1
    }  # fmt: skip
    assert found.named == {f"model/{model}", "datasets/dog/deep", f"model/{'b' * 40}"}
    assert found.memos == {"results/train/1.json": ArtifactRef(noun="checkpoint", fingerprint="t")}
    assert found.others == []


def test_the_nouns_of_tables_are_among_all() -> None:
    assert {facts.NOUN, "manifest"} <= set(inventory.NOUNS)
