"""Facts about files: found by content, over many shards."""

from __future__ import annotations

import hashlib

from kubetuner.artifacts import facts
from kubetuner.artifacts.facts import Fact
from kubetuner.storage.memory import MemoryStore


def sha(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def test_facts_of_all_shards_are_found() -> None:
    store = MemoryStore()
    for start in range(0, 3000, 1000):
        facts.write(
            store, {sha(number): Fact(pixels=sha(-number).hex(), width=number + 1, height=7) for number in range(start, start + 1000)}
        )
    found = facts.load(store)
    for number in range(3000):
        fact = found.get(sha(number), face=False)
        assert fact is not None
        assert (fact.width, fact.pixels) == (number + 1, sha(-number).hex())
    assert found.get(sha(3000), face=False) is None


def test_no_facts_are_no_shard() -> None:
    store = MemoryStore()
    facts.write(store, {})
    assert list(store.list()) == []
    assert facts.load(store).get(sha(1), face=False) is None


def test_digests_that_begin_alike_or_end_in_zeros_are_told_apart() -> None:
    store = MemoryStore()
    digests = [b"\xff" * 8 + bytes(23) + b"\x01", b"\xff" * 8 + bytes(24), bytes(32)]
    facts.write(store, {digest: Fact(width=number) for number, digest in enumerate(digests)})
    found = facts.load(store)
    assert [fact.width for digest in digests if (fact := found.get(digest, face=False)) is not None] == [0, 1, 2]
    assert found.get(b"\xff" * 32, face=False) is None


def test_face_is_known_only_where_it_was_looked_for() -> None:
    store = MemoryStore()
    facts.write(store, {sha(1): Fact(width=1), sha(2): Fact(reason="unreadable"), sha(3): Fact(width=3, face_sought=True)})
    assert facts.load(store).get(sha(1), face=True) is None
    assert facts.load(store).get(sha(2), face=True) == Fact(reason="unreadable")
    facts.write(store, {sha(1): Fact(width=1, face_sought=True, face=(0.25, 0.5))})
    found = facts.load(store)
    assert found.get(sha(1), face=True) == Fact(width=1, face_sought=True, face=(0.25, 0.5))
    assert found.get(sha(3), face=True) == Fact(width=3, face_sought=True)
