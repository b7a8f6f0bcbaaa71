"""The Job of a stage: restricted, with the run's wishes before the chart's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubetuner.controller.api import Json
from kubetuner.controller.defaults import PodDefaults, read_defaults
from kubetuner.controller.jobs import Order, build_job
from kubetuner.controller.settings import StageSettings, read
from kubetuner.errors import InputError
from tests.unit.controller.fake import run_of

DEFAULTS = """
imagePullSecrets: [pull]
serviceAccountName: stage
caBundle: {configMap: authority, key: ca.pem}
nodeSelector: {pool: gpu}
tolerations: [{key: gpu, operator: Exists}]
env: [{name: HF_ENDPOINT, value: https://mirror}]
stages:
  train:
    resources: {requests: {cpu: "8"}, limits: {memory: 32Gi, nvidia.com/gpu: "1"}}
    runtimeClassName: nvidia
"""


def settings(defaults: str = "{}") -> StageSettings:
    return StageSettings(
        store="s3://runs", store_secret="store", endpoint="http://minio:9000", region="eu", ingest_image="i:1", stage_image="s:1",
        defaults=read_defaults(defaults, "defaults"),
    )  # fmt: skip


def job(stage: str = "train", defaults: str = "{}", model: str = "", **spec: Any) -> Json:
    order = Order(
        namespace="team", run="dog", uid="u1", stage=stage, attempt=2, spec=run_of(**spec)["spec"], source=("cache", "2" * 40), model=model
    )
    return build_job(order, settings(defaults))


def pod(found: Json) -> Json:
    template: Json = found["spec"]["template"]["spec"]
    return template


def test_every_pod_passes_the_restricted_level_and_has_no_token() -> None:
    for stage in ("ingest", "embed", "train", "evaluate"):
        spec = pod(job(stage))
        [container] = spec["containers"]
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
        }  # fmt: skip
        assert spec["automountServiceAccountToken"] is False
        assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} <= {"emptyDir", "downwardAPI"}


def test_the_jobs_own_retries_are_those_that_cost_nothing() -> None:
    spec = job()["spec"]
    assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (0, "Failed")
    assert [rule["action"] for rule in spec["podFailurePolicy"]["rules"]] == ["Ignore", "FailJob", "Ignore"]
    assert "ttlSecondsAfterFinished" not in spec


def test_what_the_run_says_comes_before_what_the_chart_says() -> None:
    train = {
        "resources": {"cpu": "4", "memory": "8Gi", "gpus": 2, "gpuResource": "amd.com/gpu"},
        "nodeSelector": {"pool": "mine"}, "runtimeClassName": "other", "shmSize": "4Gi",
    }  # fmt: skip
    found = job(defaults=DEFAULTS, compute={"priorityClassName": "high", "train": train})
    spec = pod(found)
    assert spec["containers"][0]["resources"] == {
        "requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"memory": "8Gi", "amd.com/gpu": "2"},
    }  # fmt: skip
    assert (spec["nodeSelector"], spec["runtimeClassName"], spec["priorityClassName"]) == ({"pool": "mine"}, "other", "high")
    assert next(one for one in spec["volumes"] if one["name"] == "shm")["emptyDir"] == {"medium": "Memory", "sizeLimit": "4Gi"}
    assert found["metadata"]["annotations"]["kubetuner.dev/gpus"] == "2"


def test_what_the_run_does_not_say_is_the_charts() -> None:
    spec = pod(job(defaults=DEFAULTS))
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert (spec["runtimeClassName"], spec["nodeSelector"], spec["serviceAccountName"]) == ("nvidia", {"pool": "gpu"}, "stage")
    env = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    assert (env["HF_ENDPOINT"], env["AWS_CA_BUNDLE"], env["AWS_REGION"]) == ("https://mirror", "/etc/kubetuner-ca/ca.pem", "eu")


def test_claims_and_secrets_that_the_spec_names_are_mounted() -> None:
    dataset = {"id": "a", "source": {"uri": "volume://pictures/dogs"}}
    other = {"id": "b", "source": {"uri": "s3://there/cats", "secret": "there"}}
    first = pod(job("ingest", datasets=[dataset, other]))
    paths = {one["mountPath"]: one.get("readOnly") for one in first["containers"][0]["volumeMounts"]}
    assert paths["/volumes/pictures"] is True
    assert paths["/var/run/secrets/kubetuner.dev/there"] is True


def test_shards_share_one_job_that_begins_a_lost_part_again() -> None:
    found = job("embed", compute={"embed": {"shards": 4}})
    assert (found["spec"]["completions"], found["spec"]["backoffLimitPerIndex"], found["spec"]["maxFailedIndexes"]) == (4, 1, 0)
    request = json.loads(found["spec"]["template"]["metadata"]["annotations"]["kubetuner.dev/request"])
    assert request["shard"] == {"index": 0, "count": 4}


def test_devices_may_be_claimed_instead_of_counted() -> None:
    claim = {"name": "gpu", "resourceClaimTemplateName": "one-gpu"}
    spec = pod(job(defaults=DEFAULTS, compute={"train": {"resources": {"resourceClaims": [claim]}}}))
    assert spec["resourceClaims"] == [claim]
    assert spec["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]
    assert "nvidia.com/gpu" not in spec["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("- a", "names with values"), ("nodeSelectors: {}", "no such field nodeSelectors"), ("stages: {train: {gpu: 1}}", "gpu")],
)
def test_wrong_defaults_are_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_defaults(text, "values")


def test_empty_defaults_are_the_charts_usual_ones() -> None:
    assert read_defaults("", "values") == PodDefaults()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"KUBETUNER_STORE": ""}, "KUBETUNER_STORE: not set"),
        ({"KUBETUNER_NAMESPACE": ""}, "KUBETUNER_NAMESPACE: not set"),
        ({"KUBETUNER_WORKERS": "many"}, "KUBETUNER_WORKERS: 'many' is no number"),
        ({"KUBETUNER_LEASE_SECONDS": "5"}, "KUBETUNER_LEASE_SECONDS"),
        ({"KUBETUNER_POD_DEFAULTS": "/none"}, "KUBETUNER_POD_DEFAULTS"),
        ({"KUBETUNER_FEED_CA": "/ca"}, "KUBETUNER_FEED_CERT"),
    ],
)
def test_wrong_settings_name_the_variable(changed: dict[str, str], words: str) -> None:
    right = {"KUBETUNER_NAMESPACE": "x", "KUBETUNER_STORE": "s3://a", "KUBETUNER_IMAGES_INGEST": "i", "KUBETUNER_IMAGES_STAGE": "s"}
    assert read(right).watch_namespaces == ()
    with pytest.raises(InputError, match=words):
        read(right | changed)
