"""The memo's key: equal where the result is equal, and only there."""

from typing import Any

import pytest

from kubetuner import flow
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from tests.builders import run_document

SOURCE = ArtifactRef(noun="manifest", fingerprint="a" * 40)
MODEL = ArtifactRef(noun="model", fingerprint="b" * 40)
ALL = {stage.name for stage in flow.STAGES}


def keys(changes: dict[str, Any] | None = None, source: ArtifactRef = SOURCE, model: ArtifactRef = MODEL) -> dict[str, str]:
    spec = resolve(parse_run(run_document(changes))).spec
    return {stage.name: flow.inputs(stage.name, spec, source, model) for stage in flow.STAGES}


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({}, set()),
        ({"model.path": "store:model/" + "b" * 40}, set()),  # by its content, wherever it lies
        ({"datasets[0].source.uri": "s3://bucket/photographs"}, set()),
        ({"train.checkpoint.everySteps": 7}, set()),
        ({"train.gradientCheckpointing": False}, set()),
        ({"train.maxSteps": 3}, {"train"}),
        ({"train.optimizer.learningRate": 0.5}, {"train"}),
        ({"train.optimizer.weightDecay": 0.01}, set()),  # the default, given
        ({"evaluate.steps": 3}, {"evaluate"}),
        ({"embed.vae.sample": "once"}, {"embed", "train"}),
        ({"datasets[0].repeats": 3}, {"ingest", "train"}),
        ({"seed": 7}, {"ingest", "train", "evaluate"}),
    ],
)
def test_a_key_changes_with_what_the_stage_reads_and_with_nothing_else(changes: dict[str, Any], changed: set[str]) -> None:
    before, after = keys(), keys(changes)
    assert {name for name in ALL if before[name] != after[name]} == changed


def test_a_key_changes_with_source_and_model() -> None:
    other = "c" * 40
    for after in (keys(source=ArtifactRef(noun="manifest", fingerprint=other)), keys(model=ArtifactRef(noun="model", fingerprint=other))):
        assert not set(keys().values()) & set(after.values())


def test_no_two_stages_share_a_key() -> None:
    assert len(set(keys().values())) == len(flow.STAGES)
