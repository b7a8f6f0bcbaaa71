"""A store after real runs: nothing of a finished run is garbage, and what a killed run left is."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kubetuner import local
from kubetuner.artifacts.file_survey import survey
from kubetuner.artifacts.garbage import Garbage, Terms, decide
from kubetuner.errors import Interrupted
from tests.flow.flows import Counter, Place, a_run

PARTS: dict[str, Any] = {
    "train": {"maxSteps": 4, "checkpoint": {"everySteps": 2, "keep": 1}, "lora": {"rank": 2, "targets": ["to_k"]}},
    "evaluate": {"loss": {"numTimesteps": 1, "numImages": 2}},
}


def garbage(place: Place, **terms: bool) -> Garbage:
    """What is not needed when nothing counts as young."""
    return decide(survey(place.store), Terms(now=time.time() + 7200, young_seconds=0, **terms))


@pytest.mark.parametrize("cache", ["eager", "on-demand"])
def test_a_finished_run_leaves_no_garbage(place: Place, cache: str) -> None:
    run = a_run(embed={"text": {"cache": cache}, "vae": {"cache": cache}}, **PARTS)
    local.run(run, place.base / "out", place.context())
    assert list(garbage(place, caches=True).keys()) == []


def test_without_what_was_garbage_the_run_is_still_finished(place: Place) -> None:
    run = a_run(**PARTS)
    first = local.run(run, place.base / "out", place.context()).result
    others = [a_run(**PARTS, seed=2), a_run({"evaluate.prompts": ["a dog"]}, **PARTS)]
    for other, stage, after in zip(others, ["train", "evaluate"], [2, 3], strict=True):
        with pytest.raises(Interrupted):
            local.run(other, place.base / "out", place.context(Counter(stage=stage, after=after)))
    place.store.put("latents/0123456789abcdef-fedcba/data.safetensors", b"half")
    left = garbage(place)
    assert {"latents", "texts"} <= {node.ref.noun for node in left.nodes} <= {"latents", "texts", "losses", "images"}
    for key in left.keys():  # noqa: SIM118 (not a dictionary)
        place.store.delete(key)
    again = place.context()
    second = local.run(run, place.base / "again", again).result
    assert (second["artifacts"], sum(second["work"].values())) == (first["artifacts"], 0)
    assert (place.base / "again" / "lora.safetensors").read_bytes() == (place.base / "out" / "lora.safetensors").read_bytes()
    assert local.run(others[0], place.base / "other", again).result["work"]["stepsTrained"] == 2
