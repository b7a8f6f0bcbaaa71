"""The cluster's example is the quickstart at other addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubetuner.spec.keyed import keyed
from kubetuner.spec.load import load_run
from kubetuner.spec.resolve import resolve

EXAMPLES = Path(__file__).parents[3] / "examples"


def without_addresses(name: str) -> dict[str, Any]:
    run: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    for place in [run["spec"]["model"], *(dataset["source"] for dataset in run["spec"]["datasets"])]:
        place.pop("path", None)
        place.pop("uri", None)
    return run


def test_it_differs_from_the_quickstart_in_addresses_alone() -> None:
    assert without_addresses("cluster.yaml") == without_addresses("quickstart.yaml")


@pytest.mark.parametrize("part", ["embed", "train", "evaluate"])
def test_what_decides_the_result_is_the_same(part: str) -> None:
    runs = [resolve(load_run(EXAMPLES / name)) for name in ("cluster.yaml", "quickstart.yaml")]
    assert keyed(getattr(runs[0].spec, part)) == keyed(getattr(runs[1].spec, part))


def test_all_its_addresses_are_the_store_s() -> None:
    run = load_run(EXAMPLES / "cluster.yaml")
    addresses = [run.spec.model.path, *(dataset.source.uri for dataset in run.spec.datasets)]
    assert [one for one in addresses if not one.startswith("store:")] == []
