"""Every kind of mistake in a run gives its path, what was given, and the cure."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kubetuner.errors import SpecErrors
from kubetuner.spec.load import parse_run
from kubetuner.spec.override import apply
from tests.unit.spec.mutations import valid


def faults(*overrides: str) -> dict[str, str]:
    """Problem by path of the valid run after overrides."""
    document = copy.deepcopy(valid())
    apply(document, overrides)
    with pytest.raises(SpecErrors) as raised:
        parse_run(document)
    return {error.path: error.problem for error in raised.value.errors}


@pytest.mark.parametrize(
    ("override", "path", "words"),
    [
        ("train.learningRate=1", "spec.train.learningRate", ["no such field", "spec.train.optimizer.learningRate"]),
        ("train.rank=4", "spec.train.rank", ["did you mean spec.train.lora.rank?"]),
        ("train.batch_size=4", "spec.train.batch_size", ["did you mean batchSize?"]),
        ("datasets[1].cropStile=face", "spec.datasets[1].cropStile", ["did you mean cropStyle?"]),
        ("train.lora.cropStyle=face", "spec.train.lora.cropStyle", ["spec.datasets[0].cropStyle"]),
        ("train.qqqqqqqq=1", "spec.train.qqqqqqqq", ["no such field; here are type, lora"]),
        ("metadata.nmae=x", "metadata.nmae", ["did you mean name?"]),
        ("train.batchSize='4'", "spec.train.batchSize", ['"4" is text', "a whole number is expected", "write 4 without quotes"]),
        ("train.batchSize=1.5", "spec.train.batchSize", ["1.5 is not whole"]),
        ("train.batchSize=99999999999", "spec.train.batchSize", ["99999999999 is too large"]),
        ("train.batchSize=true", "spec.train.batchSize", ["true is a boolean", "a whole number is expected"]),
        ("train.batchSize=5000", "spec.train.batchSize", ["5000 given", "from 1 to 4096"]),
        ("train.optimizer.learningRate=fast", "spec.train.optimizer.learningRate", ['"fast" is text', "a number is expected"]),
        ("train.optimizer.learningRate='1e-4'", "spec.train.optimizer.learningRate", ["write 1e-4 without quotes"]),
        ("train.optimizer.learningRate=.nan", "spec.train.optimizer.learningRate", ["nan is no number"]),
        ("train.optimizer.learningRate=-.inf", "spec.train.optimizer.learningRate", ["inf is no number"]),
        ("train.optimizer.learningRate=0", "spec.train.optimizer.learningRate", ["0 given", "more than 0 and at most 10"]),
        ("train.optimizer.beta1=1", "spec.train.optimizer.beta1", ["1 given", "0 or more and less than 1"]),
        ("datasets[0].crop=1", "spec.datasets[0].crop", ["1 is a whole number", "true or false is expected"]),
        ("datasets[0].crop='true'", "spec.datasets[0].crop", ["write true without quotes"]),
        ("datasets[0].id=12", "spec.datasets[0].id", ["12 is a whole number", "write it in quotes: '12'"]),
        ("datasets[0].id=a b", "spec.datasets[0].id", ['"a b" given', "letters, digits"]),
        ("datasets[0].id=", "spec.datasets[0].id", ["empty or not given"]),
        ("datasets[0].source=./x", "spec.datasets[0].source", ['"./x" is text', "a group of fields is expected (uri, secret)"]),
        ("datasets[0].source=", "spec.datasets[0].source", ["missing; it must be given (it holds uri"]),
        ("datasets[0].cropAspect=Closest", "spec.datasets[0].cropAspect", ['"Closest" given', "did you mean closest?"]),
        ("datasets={}", "spec.datasets", ["a group of fields", "a list is expected"]),
        ("datasets=[1]", "spec.datasets[0]", ["1 is a whole number, but a group of fields is expected"]),
        ("datasets=[null]", "spec.datasets[0]", ["nothing (null)"]),
        ("datasets=[]", "spec.datasets", ["0 items given; must be at least 1"]),
        ("evaluate.resolutions=[" + "8x8, " * 17 + "]", "spec.evaluate.resolutions", ["17 items given; must be at most 16"]),
        ("datasets=", "spec.datasets", ["must be at least 1"]),
        ("train=", "spec.train", ["missing"]),
        ("datasets[1].id=a", "spec.datasets", ["every dataset needs an id of its own"]),
        ("datasets[0].resolution=1.0", "spec.datasets[0].resolution", ["wrong unit", "given resolution: 1"]),
        ("datasets[0].minimumImageSize=2", "spec.datasets[0].minimumImageSize", ["unit of resolutionType"]),
        ("datasets[0].maximumImageSize=2048", "spec.datasets[0].maximumImageSize", ["give both or neither"]),
        ("datasets[0].cropAspect=square", "spec.datasets[0].cropAspect", ["no other cropAspect reads them"]),
        ("datasets[0].crop=false", "spec.datasets[0].cropAspect", ["take effect only with crop: true"]),
        ("datasets[1].instancePrompts=", "spec.datasets[1].captionStrategy", ["need instancePrompts"]),
        ("datasets[1].disableMultilineSplit=true", "spec.datasets[1].disableMultilineSplit", ["only with captionStrategy textfile"]),
        ("datasets[2].repeats=1", "spec.datasets[2].datasetType", ["repeats and probability do not apply"]),
        ("train.epochs=3", "spec.train.maxSteps", ["exactly one of the two", "maxSteps: 10, epochs: 3"]),
        ("train.maxSteps=", "spec.train", ["exactly one of the two"]),
        ("train.type=full", "spec.train", []),
        ("train.rescaleBetasZeroSnr=true", "spec.train.rescaleBetasZeroSnr", ["set predictionType: v_prediction"]),
        ("train.loss.type=l2", "spec.train.loss.huberC", ["read only by type huber and smooth_l1"]),
        ("train.timesteps.biasEnd=5", "spec.train.timesteps.biasBegin", ["biasBegin must be below biasEnd"]),
        ("train.schedule={type: constant, warmupSteps: 5}", "spec.train.schedule.type", ["constant_with_warmup"]),
        ("model={path: x.safetensors, variant: fp16}", "spec.model.variant", ["drop them for a single .safetensors file"]),
        ("evaluate.resolutions=[100x100]", "spec.evaluate.resolutions[0]", ['"100x100" given', "multiple of 8"]),
        ("evaluate.resolutions=[1024]", "spec.evaluate.resolutions[0]", ["1024 is a whole number", "text is expected"]),
        ("evaluate.resolutions=[x]", "spec.evaluate.resolutions[0]", ["WIDTHxHEIGHT in pixels"]),
        ("evaluate.resolutions=1024x1024", "spec.evaluate.resolutions", ["write it as [1024x1024]"]),
        ("evaluate.adapterScales=[0.5]", "spec.evaluate.adapterScales", ["[0.5] given", "1 must be among the adapterScales"]),
        ("evaluate.adapterScales=[1, 1]", "spec.evaluate.adapterScales", ["name each of the adapterScales once"]),
        ("evaluate.adapterScales=[1, 3]", "spec.evaluate.adapterScales[1]", ["3 given", "from -2 to 2"]),
        ("evaluate.datasetPrompts=1000", "spec.evaluate.datasetPrompts", ["1000 given", "from 0 to 256"]),
        ("evaluate.prompts=['']", "spec.evaluate.prompts[0]", ["empty or not given"]),
        ("metadata.name=Big Name", "metadata.name", ['"Big Name" given', "lower-case letters"]),
        ("metadata.labels={a: 1}", "metadata.labels.a", ["1 is a whole number", "text is expected"]),
        ('model.path="a\\0b"', "spec.model.path", ["cannot be stored"]),
    ],
)
def test_a_mistake_is_told_with_path_value_and_cure(override: str, path: str, words: list[str]) -> None:
    if override == "train.type=full":
        override = "train={type: full, lora: {}, maxSteps: 1}"
        words, path = ["lora is read only with type: lora"], "spec.train.lora"
    found = faults(override)
    assert path in found
    assert [word for word in words if word not in found[path]] == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["train={type: full, maxSteps: 1}", "evaluate.adapterScales=[0.5, 1]"], "draws at strengths of a LoRA"),
        (["datasets[2].disabled=true", "evaluate.datasetPrompts=3"], "add a dataset with datasetType: eval"),
    ],
)
def test_what_evaluate_cannot_draw_is_told(overrides: list[str], words: str) -> None:
    assert words in faults(*overrides)["spec.evaluate"]


@pytest.mark.parametrize("override", ["evaluate.adapterScales=[0, 0.5, 1]", "evaluate.adapterScales=[]", "evaluate.datasetPrompts=3"])
def test_what_evaluate_can_draw_passes(override: str) -> None:
    document = copy.deepcopy(valid())
    apply(document, [override])
    parse_run(document)


def test_all_mistakes_are_told_at_once() -> None:
    found = faults("train.batchSize=0", "train.lora.rank='x'", "datasets[0].cropStyle=away", "evaluate.stepz=3", "seed=-1")
    assert list(found) == [
        "spec.train.lora.rank",
        "spec.evaluate.stepz",
        "spec.seed",
        "spec.datasets[0].cropStyle",
        "spec.train.batchSize",
    ]


def test_a_wrong_kind_of_value_is_not_also_called_missing() -> None:
    assert list(faults("train=5")) == ["spec.train"]


@pytest.mark.parametrize("document", [{}, {"apiVersion": "v1", "kind": "Pod"}, {"spec": None}, {"spec": []}, {1: 2}])
def test_a_document_that_is_no_run_is_refused(document: dict[Any, Any]) -> None:
    with pytest.raises(SpecErrors):
        parse_run(document)


def test_what_a_cluster_adds_is_not_read() -> None:
    document = valid()
    document["metadata"] |= {"uid": "1", "generation": 2, "creationTimestamp": "now", "managedFields": [{}]}
    document["status"] = {"phase": "Running", "whatever": 1}
    assert parse_run(document) == parse_run(valid())


def test_null_is_not_given() -> None:
    document = valid()
    document["spec"]["train"]["lora"] = None
    document["spec"]["seed"] = None
    assert parse_run(document) == parse_run(valid())
