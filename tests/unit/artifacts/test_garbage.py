"""What of a store is not needed: a table of small stores, and what must hold in any."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetuner.artifacts.garbage import CLAIM_SECONDS, Terms, decide, reachable
from kubetuner.artifacts.inventory import NOUNS, Inventory, Node
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.storage.store import ObjectInfo

NOW = 1e9
DAY = 24 * 3600.0
TERMS = Terms(now=NOW, young_seconds=DAY)


def ref(name: str) -> ArtifactRef:
    noun, _, fingerprint = name.partition("/")
    return ArtifactRef(noun=noun, fingerprint=fingerprint)


def node(name: str, *refers: str, age: float = 2 * DAY, complete: bool = True, fills: str = "", **more: object) -> Node:
    keys = (f"{name}/index.json", f"{name}/data") if complete else (f"{name}/data",)
    whole = Node(
        ref=ref(name),
        keys=keys,
        size=1,
        modified=NOW - age,
        complete=complete,
        refers=frozenset(map(ref, refers)),
        fills=frozenset(fills.split()),
    )
    return replace(whole, **more)


def store(*nodes: Node, claims: tuple[ObjectInfo, ...] = ()) -> Inventory:
    return Inventory(nodes={one.ref: one for one in nodes}, claims=claims)


def claim(name: str, age: float) -> ObjectInfo:
    return ObjectInfo(key=f"claims/{name}", size=1, modified=NOW - age)


def going(inventory: Inventory, terms: Terms = TERMS) -> set[str]:
    return {f"{one.ref.noun}/{one.ref.fingerprint}" for one in decide(inventory, terms).nodes}


WHOLE = [
    node("report/r", "checkpoint/t", "images/i", "losses/l", "texts/e-prompts"),
    node("checkpoint/t", "cache/c", "checkpoint/t-000000004"),
    node("checkpoint/t-000000004"),
    node("cache/c", "manifest/m", "texts/e-1", "latents/v-1"),
    node("manifest/m", "facts/f"),
    *map(node, ["texts/e-1", "texts/e-prompts", "latents/v-1", "facts/f", "images/i", "losses/l"]),
]


@pytest.mark.parametrize(
    ("beside", "gone"),
    [
        ([], set()),
        ([node("images/other"), node("losses/other"), node("facts/other")], {"images/other", "losses/other", "facts/other"}),
        ([node("texts/e-2"), node("latents/v-2"), node("latents/w-1")], {"texts/e-2", "latents/v-2", "latents/w-1"}),
        ([node("images/young", age=DAY / 2)], set()),
        ([node("manifest/half", complete=False), node("report/half", complete=False)], {"manifest/half", "report/half"}),
        ([node("manifest/half", complete=False, age=60)], set()),
        ([node("images/torn", complete=False, problem="damaged")], set()),
        ([node("checkpoint/t-000000002")], {"checkpoint/t-000000002"}),  # superseded
        ([node("checkpoint/u-000000002"), node("checkpoint/u-000000004")], set()),  # of an unfinished training
        ([node("checkpoint/u-000000002", complete=False)], {"checkpoint/u-000000002"}),
        ([node("cache/unused", "latents/v-2"), node("manifest/unused"), node("latents/v-2")], set()),
        ([node("cache/open", "manifest/m", fills="latents/v"), node("latents/v-2"), node("texts/e-2")], {"texts/e-2"}),
        ([node("latents/v-2"), node("latents/v-3", age=60)], set()),  # somebody is filling this pool
        ([node("latents/w-2"), node("latents/w-3", age=60), node("latents/v-2")], {"latents/v-2"}),
        ([node("latents/v-2", complete=False), node("latents/v-3", age=60)], set()),
    ],
)
def test_what_nothing_needs_goes_and_all_else_stays(beside: list[Node], gone: set[str]) -> None:
    assert going(store(*WHOLE, *beside)) == gone


def test_caches_go_only_where_it_is_asked_for_and_no_training_is_unfinished() -> None:
    terms = replace(TERMS, caches=True)
    beside = [
        node("cache/unused", "manifest/unused", "latents/v-2"),
        node("manifest/unused", "facts/g"),
        node("latents/v-2"),
        node("facts/g"),
    ]
    assert going(store(*WHOLE, *beside), terms) == {"cache/unused", "manifest/unused", "latents/v-2", "facts/g"}
    assert going(store(*WHOLE, *beside, node("checkpoint/u-000000002")), terms) == set()


@pytest.mark.parametrize(("age", "gone"), [(1, set()), (CLAIM_SECONDS + 1, {"latents/v-2", "latents/v-3"})])
def test_a_living_claim_keeps_the_pool_of_its_encoder(age: float, gone: set[str]) -> None:
    beside = [node("latents/v-2"), node("latents/v-3", complete=False)]
    found = store(*WHOLE, *beside, claims=(claim("latents/v-9", age),))
    at_once = replace(TERMS, young_seconds=0)
    assert going(found, at_once) == gone
    assert decide(found, at_once).claims == (("claims/latents/v-9",) if gone else ())


def test_a_base_model_stays_and_goes_with_the_caches_unless_a_job_names_it() -> None:
    found = store(*WHOLE, node("model/a"), node("model/b"), node("model/half", complete=False))
    assert going(found) == {"model/half"}
    named = replace(found, named=frozenset({"model/b", "datasets/dog"}))
    assert going(named, replace(TERMS, caches=True)) == {"model/a", "model/half"}


def test_a_model_that_somebody_is_bringing_stays() -> None:
    found = store(node("model/half", complete=False), claims=(claim("model/half", 1),))
    assert going(found, replace(TERMS, young_seconds=0)) == set()


def test_a_memo_goes_with_its_result() -> None:
    memos = {
        "results/train/1.json": ref("checkpoint/t"),
        "results/train/2.json": ref("checkpoint/gone"),
        "results/embed/3.json": ref("images/x"),
    }
    found = replace(store(*WHOLE, node("images/x")), memos=memos)
    assert list(decide(found, TERMS).keys())[:2] == ["results/train/2.json", "results/embed/3.json"]


def test_what_a_killed_writer_left_in_an_artifact_that_stays_goes_too() -> None:
    left = replace(WHOLE[0], stray=("report/r/report.json.123",))
    assert list(decide(store(left, *WHOLE[1:]), TERMS).keys()) == ["report/r/report.json.123"]
    young = replace(left, modified=NOW)
    assert list(decide(store(young, *WHOLE[1:]), TERMS).keys()) == []


def test_an_index_is_deleted_before_its_data() -> None:
    assert list(decide(store(node("images/i")), TERMS).keys()) == ["images/i/index.json", "images/i/data"]


NAMES = [f"{noun}/{name}" for noun in NOUNS for name in ("a", "b", "a-000000001", "b-000000002")]


@st.composite
def stores(draw: st.DrawFn) -> Inventory:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=20))
    return store(
        *(
            node(
                name,
                *draw(st.lists(st.sampled_from(NAMES), max_size=4)),
                age=draw(st.sampled_from([0, DAY / 2, 2 * DAY])),
                complete=draw(st.booleans()),
                fills=draw(st.sampled_from(["", "texts/a", "latents/b"])),
            )
            for name in names
        ),
        claims=tuple(claim(name, draw(st.sampled_from([1, 2 * DAY]))) for name in draw(st.lists(st.sampled_from(NAMES), max_size=2))),
    )


@given(stores(), st.booleans())
def test_nothing_goes_that_a_report_or_a_training_can_reach(inventory: Inventory, caches: bool) -> None:
    finished = {one.ref.fingerprint for one in inventory.nodes.values() if one.ref.noun == "checkpoint" and one.complete}
    roots = [
        one.ref
        for one in inventory.nodes.values()
        if one.complete and (one.ref.noun == "report" or (one.ref.noun == "checkpoint" and one.training not in finished))
    ]
    gone = {one.ref for one in decide(inventory, replace(TERMS, caches=caches)).nodes}
    assert not gone & reachable(inventory, roots)
    assert not any(NOW - inventory.nodes[one].modified < DAY for one in gone)


@given(stores())
def test_a_second_time_finds_nothing(inventory: Inventory) -> None:
    gone = decide(inventory, TERMS)
    left = {one: found for one, found in inventory.nodes.items() if found not in gone.nodes}
    living = tuple(one for one in inventory.claims if one.key not in gone.claims)
    assert list(decide(Inventory(nodes=left, claims=living), TERMS).keys()) == []
