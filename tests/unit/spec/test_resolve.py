"""Defaults, the form for fingerprints, and the schema's own promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kubetuner.errors import InputError
from kubetuner.spec import document, schema
from kubetuner.spec.keyed import keyed
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve, to_json, to_yaml
from kubetuner.spec.words import PATTERNS, set_names
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun, TrainingRunSpec
from tests.unit.spec.mutations import mutated, valid

WITHOUT_DEFAULT = {
    # Absence says something: no path, no filter, the model's own, or one of two.
    "Model.path", "Model.config", "Model.variant", "Model.revision", "Dataset.maximum_image_size", "Dataset.target_downsample_size",
    "Dataset.minimum_aspect_ratio", "Dataset.maximum_aspect_ratio", "Dataset.max_upscale_threshold", "Train.max_steps", "Train.epochs",
    "Train.prediction_type",
    # A cluster's: what is not given is as the chart says, or is not asked for. No result depends on them.
    "TrainingRunSpec.suspend", "TrainingRunSpec.cancel", "TrainingRunSpec.managed_by", "TrainingRunSpec.queue", "Model.secret",
    "Source.secret", "Compute.priority_class_name", "Compute.active_deadline_seconds", "Compute.ttl_seconds_after_finished",
    "Compute.scheduler_name", "StageCompute.runtime_class_name", "StageCompute.shm_size", "Resources.cpu", "Resources.memory",
    "Resources.gpus", "ResourceClaim.resource_claim_name", "ResourceClaim.resource_claim_template_name", "Toleration.key",
    "Toleration.value", "Toleration.effect", "Toleration.toleration_seconds",
    # Depend on another field: resolve.py.
    "Dataset.resolution", "Lora.alpha", "Optimizer.learning_rate", "Evaluate.seed",
}  # fmt: skip


def small(**train: object) -> TrainingRun:
    run = {"apiVersion": "kubetuner.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "run"}}
    spec = {"model": {}, "datasets": [{"id": "a", "source": {"uri": "./a"}}], "train": {"maxSteps": 10, **train}}
    return parse_run(run | {"spec": spec})


def passing(count: int) -> Iterator[TrainingRun]:
    for seed in range(count):
        try:
            yield parse_run(mutated(seed))
        except InputError:
            continue


def every_field(message: Descriptor) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        yield field
        if schema.is_message(field):
            yield from every_field(schema.below(field))


def test_every_optional_field_has_a_default_or_a_reason() -> None:
    bare = {
        f"{field.containing_type.name}.{field.name}"
        for field in every_field(schema.of(TrainingRunSpec))
        if field.has_presence and field.message_type is None and schema.default(field) is None
    }
    assert bare == WITHOUT_DEFAULT


def test_every_default_keeps_its_fields_own_rules() -> None:
    resolved = resolve(small(ema={}))
    assert parse_run(to_json(resolved)) == resolved


def test_every_pattern_has_words() -> None:
    rules = [schema.scalar_rules(field, item=item) for field in every_field(schema.of(TrainingRun)) for item in (False, True)
             if not item or (schema.is_list(field) and schema.rules(field).HasField("repeated"))]  # fmt: skip
    assert {rule.pattern for rule in rules if rule is not None and "pattern" in set_names(rule)} <= set(PATTERNS)


def test_resolving_twice_changes_nothing_and_the_result_passes_again() -> None:
    count = 0
    for run in passing(400):
        resolved = resolve(run)
        assert resolve(resolved) == resolved
        assert parse_run(to_json(resolved)) == resolved
        count += 1
    assert count > 50


def test_yaml_of_a_run_reads_back_equal() -> None:
    for run in passing(150):
        assert parse_run(document.parse(to_yaml(resolve(run)), "run")) == resolve(run)


@pytest.mark.parametrize(
    ("kind", "rate"),
    [("lora", 1e-4), ("full", 1e-5)],
)
def test_learning_rate_depends_on_the_type(kind: str, rate: float) -> None:
    assert resolve(small(type=kind)).spec.train.optimizer.learning_rate == rate


def test_alpha_is_the_rank_and_the_evaluation_seed_the_runs() -> None:
    run = resolve(small(lora={"rank": 32}))
    assert run.spec.train.lora.alpha == 32
    assert run.spec.evaluate.seed == 42
    assert list(run.spec.train.lora.targets) == ["to_q", "to_k", "to_v", "to_out.0"]


def test_resolution_and_centre_are_filled_by_type() -> None:
    document = valid()
    document["spec"]["datasets"][2].pop("resolution")
    document["spec"]["datasets"][0]["cropStyle"] = "center"
    found = resolve(parse_run(document)).spec.datasets
    assert [dataset.resolution for dataset in found] == [1024.0, 1024.0, 1.0]
    assert found[0].crop_style == "centre"


def test_switches_stay_as_given() -> None:
    plain, full = resolve(small()).spec, resolve(small(type="full", ema={"decay": 0.9})).spec
    assert (plain.train.HasField("ema"), plain.train.HasField("lora"), plain.model.HasField("vae")) == (False, True, False)
    assert (full.train.HasField("ema"), full.train.HasField("lora")) == (True, False)
    assert full.train.ema.update_interval == 1


def test_resolving_leaves_the_given_run_alone() -> None:
    run = small()
    before = run.SerializeToString()
    resolve(run)
    assert run.SerializeToString() == before


def test_keyed_holds_what_differs_from_the_defaults() -> None:
    spec = resolve(small()).spec
    assert keyed(spec.train) == {"lora": {"alpha": 16.0}, "optimizer": {"learningRate": 1e-4}, "maxSteps": 10}


def test_fields_of_later_versions_change_no_key_of_before() -> None:
    assert keyed(resolve(small()).spec.evaluate).keys() <= {"prompts", "resolutions", "seed"}


def test_keyed_is_the_same_for_a_default_left_out_and_written() -> None:
    written = resolve(small(batchSize=1, schedule={"warmupSteps": 0}, lora={"rank": 16, "alpha": 16}))
    assert keyed(written.spec) == keyed(resolve(small()).spec)


@pytest.mark.parametrize(
    ("train", "same"),
    [
        ({"gradientCheckpointing": False}, True),
        ({"checkpoint": {"everySteps": 7, "keep": 1}}, True),
        ({"ema": {}}, False),
        ({"batchSize": 2}, False),
        ({"type": "full"}, False),
    ],
)
def test_keyed_changes_with_what_changes_the_result(train: dict[str, object], same: bool) -> None:
    assert (keyed(resolve(small(**train)).spec.train) == keyed(resolve(small()).spec.train)) is same


def test_keyed_does_not_know_where_pictures_lie() -> None:
    document = valid()
    before = keyed(resolve(parse_run(document)).spec)
    document["spec"]["datasets"][0]["source"]["uri"] = "s3://elsewhere/a"
    assert keyed(resolve(parse_run(document)).spec) == before
