"""The generated CRD says what the proto says, in Kubernetes' words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubetuner.spec import schema
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec
from tools.generate.cel import for_kubernetes

CRD = yaml.safe_load((Path(__file__).parents[3] / "charts/kubetuner/files/trainingruns.kubetuner.dev.yaml").read_text())
ROOT = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def at(path: str) -> Any:
    found = ROOT
    for name in path.split("."):
        found = found["items"] if name == "[]" else found["properties"][name]
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("has(this.max_steps) != has(this.epochs)", "has(self.maxSteps) != has(self.epochs)"),
        ("this.all(d, this.exists_one(e, e.id == d.id))", "self.all(d, self.exists_one(e, e.id == d.id))"),
        ("this.namespace == 'this.max_steps'", "self.__namespace__ == 'this.max_steps'"),
        ("d.dataset_type == \"a_b\" && this.path.endsWith('.x_y')", "d.datasetType == \"a_b\" && self.path.endsWith('.x_y')"),
        ("this == other.this", "self == other.this"),
    ],
)
def test_rules_are_rewritten_outside_of_text_only(expression: str, expected: str) -> None:
    assert for_kubernetes(expression) == expected


def test_bounds_choices_and_patterns_stand_in_the_schema() -> None:
    rank, aspect, name = at("spec.train.lora.rank"), at("spec.datasets.[].cropAspect"), at("metadata.name")
    assert (rank["type"], rank["minimum"], rank["maximum"]) == ("integer", 1, 1024)
    assert aspect["enum"] == ["square", "preserve", "closest", "random"]
    assert (name["maxLength"], name["pattern"]) == (45, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    assert at("spec.train.optimizer.learningRate")["exclusiveMinimum"] is True


def test_required_is_what_the_proto_requires() -> None:
    assert ROOT["required"] == ["spec"]
    assert at("spec")["required"] == ["model", "datasets", "train"]
    assert at("spec.datasets.[]")["required"] == ["id", "source"]
    assert "required" not in at("spec.train")


def test_datasets_are_a_map_by_id() -> None:
    assert at("spec.datasets")["x-kubernetes-list-map-keys"] == ["id"]


def test_no_default_stands_in_the_schema_and_every_field_is_described() -> None:
    def walk(node: Any, path: str) -> None:
        assert "default" not in node, path
        for name, child in node.get("properties", {}).items():
            assert child.get("description"), f"{path}.{name}"
            walk(child, f"{path}.{name}")
        if "items" in node:
            walk(node["items"], f"{path}[]")

    walk(at("spec"), "spec")
    walk(at("status"), "status")


def test_every_rule_across_fields_is_there_in_kubernetes_words() -> None:
    text = yaml.safe_dump(ROOT, width=10**6)
    rules = [rule for _, rule in every_rule(schema.of(TrainingRunSpec))]
    assert len(rules) > 15
    assert [rule.id for rule in rules if rule.message not in text.replace("''", "'")] == []
    assert "this." not in text


def every_rule(message: Any) -> list[tuple[str, Any]]:
    found = [(message.name, rule) for rule in schema.message_rules(message).cel]
    for field in message.fields:
        found += [(field.name, rule) for rule in schema.rules(field).cel]
        if schema.is_message(field):
            found += every_rule(schema.below(field))
    return found
