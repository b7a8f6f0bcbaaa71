"""What may stand in values, and what is said of the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart import helm
from tests.chart.helm import CHART, Refused
from tests.chart.releases import RELEASES, of_kind, rendered

pytestmark = pytest.mark.needs("helm")
TRIAL = RELEASES["trial"]


def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return found


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return found


def follow(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    return whole["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part


def parts(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from parts(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from parts(inner)


def test_no_object_of_the_schema_takes_keys_that_it_does_not_name() -> None:
    open_ = [part for part in parts(schema()) if part.get("type") == "object" and "additionalProperties" not in part]
    # Kubernetes' own objects, which the API server checks, and what Helm itself puts in.
    assert {part["description"] for part in open_} == {"Checked by the API server.", "What Helm hands to subcharts; not read."}
    assert not [part for part in parts(schema()) if part.get("additionalProperties") is True]


def test_schema_and_values_name_the_same_keys() -> None:
    whole = schema()

    def compare(given: dict[str, Any], part: dict[str, Any], path: str) -> Iterator[str]:
        known = set(part["properties"]) - {"global"}
        yield from (f"{path}.{key}" for key in known ^ set(given))
        for key in known & set(given):
            inner = follow(part["properties"][key], whole)
            if isinstance(given[key], dict) and "properties" in inner and inner["additionalProperties"] is False and given[key]:
                yield from compare(given[key], inner, f"{path}.{key}")

    found = set(compare(values(), whole, ""))
    resources = {path for path in found if path.endswith((".limits", ".requests"))}
    assert found - resources == set()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("minio.enable=true", "'/minio'"),
        ("controler.replicas=2", "'controler'"),
        ("pods.stages.train.gpu=1", "'/pods/stages/train'"),
        ("objectStore.auth.password=x", "'/objectStore/auth'"),
        ("networkPolicy.clients.peers[0].pod=x", "'/networkPolicy/clients/peers/0'"),
        ("images.stage.digest=md5:1", "'/images/stage/digest'"),
        ("objectStore.bucket=A", "'/objectStore/bucket'"),
        ("objectStore.endpoint=http://host/path", "'/objectStore/endpoint'"),
        ("controller.replicas=-1", "'/controller/replicas'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(given: str, said: str) -> None:
    with pytest.raises(Refused, match="meet the specifications of the schema") as refused:
        helm.render(TRIAL, sets=[given])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "objectStore.auth.existingSecret is needed"),
        ({**TRIAL, "standing": {"train": {"enabled": True}}}, "standing.clientCA.existingSecret is needed"),
        ({**TRIAL, "tls": {"certManager": {"enabled": True}}}, "tls.certManager.issuerRef.name is needed"),
        ({**TRIAL, "controller": {"serviceAccount": {"create": False}}}, "controller.serviceAccount.name is needed"),
        ({**TRIAL, "pods": {"gpu": {"preset": "none"}}}, "pods.gpu.resource is needed"),
    ],
)
def test_what_is_missing_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        helm.render(given)


def test_an_older_cluster_is_refused() -> None:
    with pytest.raises(Refused, match="incompatible with Kubernetes"):
        helm.run("template", "kubetuner", str(CHART), "--kube-version", "1.33.0", "--set", "minio.enabled=true")


def test_the_chart_lints() -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm.run("lint", "--strict", str(CHART), "--set", "minio.enabled=true")


def test_values_hold_no_secret() -> None:
    def leaves(part: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(part, dict):
            for key, inner in part.items():
                yield from leaves(inner, f"{path}.{key}")
        else:
            yield path, part

    named = {path: value for path, value in leaves(values(), "") if any(word in path.lower() for word in ("secret", "password", "token"))}
    assert set(map(str, named.values())) <= {"", "[]", "key", "ca.crt", "token", "accessKey", "secretKey"}


@pytest.mark.parametrize("name", ["own-store", "whole", "no-service"])
def test_no_secret_is_made_where_they_are_named(name: str) -> None:
    assert of_kind(name, "Secret") == []


def test_a_trial_makes_its_two_secrets_and_keeps_the_store_s() -> None:
    secrets = {one["metadata"]["name"]: one for one in of_kind("trial", "Secret")}
    assert set(secrets) == {"kubetuner-tls", "kubetuner-minio"}
    assert set(secrets["kubetuner-tls"]["data"]) == {"ca.crt", "tls.crt", "tls.key"}
    assert secrets["kubetuner-minio"]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize("name", ["own-store", "whole", "no-service"])
def test_rendering_again_gives_the_same(name: str) -> None:
    assert tuple(helm.render(RELEASES[name])) == rendered(name)


def test_two_releases_do_not_claim_one_object() -> None:
    others = helm.render(RELEASES["own-store"], release="second", sets=["crds.enabled=false"])
    names = [
        {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in of} for of in (others, rendered("own-store"))
    ]
    assert names[0] & names[1] == set()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"endpoint": "https://a:9000"}, "https://a:9000"),
        ({"endpoint": "a:9000"}, "https://a:9000"),
        ({"endpoint": "a:9000", "secure": False}, "http://a:9000"),
        ({"endpoint": ""}, None),
    ],
)
def test_the_store_s_address_has_its_scheme(given: dict[str, Any], expected: str | None) -> None:
    objects = helm.render({"objectStore": {**given, "auth": {"existingSecret": "s3"}}, "tls": {"existingSecret": "tls"}})
    [controller] = [one for one in objects if one["kind"] == "Deployment"]
    environment = {one["name"]: one.get("value") for one in controller["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert environment.get("KUBETUNER_S3_ENDPOINT") == expected


def test_the_crd_is_the_generated_one_and_outlives_the_release() -> None:
    generated = yaml.safe_load((CHART / "files/trainingruns.kubetuner.dev.yaml").read_text())
    [crd] = of_kind("trial", "CustomResourceDefinition")
    assert crd["spec"] == generated["spec"]
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not [one for one in helm.render(TRIAL, sets=["crds.enabled=false"]) if one["kind"] == "CustomResourceDefinition"]
    [unkept] = [one for one in helm.render(TRIAL, sets=["crds.keep=false"]) if one["kind"] == "CustomResourceDefinition"]
    assert "annotations" not in unkept["metadata"]


def test_the_notes_tell_the_next_commands() -> None:
    said = helm.run("install", "kubetuner", str(CHART), "--namespace", "system", "--dry-run=client", "--set", "minio.enabled=true")
    notes = said.split("NOTES:")[1]
    for command in (
        "helm test kubetuner -n system",
        "get secret kubetuner-minio",
        "kubetuner push",
        "kubectl -n YOUR-NAMESPACE apply -f",
        "kubetuner outputs",
    ):
        assert command in notes
