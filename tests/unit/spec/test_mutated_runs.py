"""Ten thousand changed runs and five hundred changed SimpleTuner set-ups: each passes, or is refused by errors that name a place."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from kubetuner.artifacts.objects import canonical
from kubetuner.errors import InputError, SpecErrors
from kubetuner.spec import keyed
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve, to_json
from kubetuner.spec.simpletuner import import_config
from tests.unit.spec.mutations import ODD, TEXTS, mutated

RUNS = 10_000
SET_UPS = 500
PARTS = 10
DATA = Path(__file__).parents[2] / "data" / "simpletuner"


@pytest.mark.parametrize("part", range(PARTS))
def test_a_changed_run_is_resolved_or_every_error_has_a_path_and_one_line(part: int) -> None:
    passed, refused = 0, {}
    for seed in range(part, RUNS, PARTS):
        document = mutated(seed)
        try:
            run = parse_run(document)
        except SpecErrors as error:
            refused[seed] = error
            continue
        passed += 1
        resolved = resolve(run)
        assert parse_run(to_json(resolved)) == resolved, seed
        assert canonical(keyed.keyed(resolved.spec.train)), seed
    for seed, error in refused.items():
        assert all(one.path and one.problem and "\n" not in str(one) for one in error.errors), (seed, str(error))
    assert RUNS / PARTS / 20 < passed < RUNS / PARTS  # the changes leave some right and make most wrong


def odd(draw: random.Random) -> Any:
    return draw.choice([*ODD, *TEXTS, None, float("inf"), "{env:ABSENT}", "true", [{"aspect": 1}], "1024", -1.5, "none"])


def test_a_changed_set_up_is_imported_or_refused(tmp_path: Path) -> None:
    draw = random.Random(4)
    sources = [("quickstart", "config/config.json", "config/multidatabackend.json"), ("several", "config/config.json", "backends.json")]
    imported = 0
    for number in range(SET_UPS):
        name, config_file, backend_file = sources[number % 2]
        config = json.loads((DATA / name / config_file).read_text())
        backend = json.loads((DATA / name / backend_file).read_text())
        for _ in range(draw.randint(1, 4)):
            target = draw.choice([config, *(entry for entry in backend if isinstance(entry, dict))])
            key = draw.choice(list(target))
            if draw.random() < 0.2:
                del target[key]
            else:
                target[key] = odd(draw)
        if draw.random() < 0.05:
            backend = odd(draw)
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "backend.json").write_text(json.dumps(backend))
        try:
            found = import_config(tmp_path / "config.json", tmp_path / "backend.json", environment={"OUTPUT": "/out"})
        except InputError:
            continue
        imported += 1
        assert parse_run(to_json(found.run)) == found.run, number
    assert SET_UPS / 10 < imported < SET_UPS
