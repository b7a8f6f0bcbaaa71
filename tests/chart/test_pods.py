"""Every pod of a release, and every pod that the controller makes from what the chart tells it."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from kubetuner.controller.defaults import PodDefaults, read_defaults
from kubetuner.controller.jobs import Order, build_job
from kubetuner.controller.metrics import Metrics
from kubetuner.controller.settings import StageSettings, read
from kubetuner.rpc import settings as rooms
from tests.chart import helm
from tests.chart.releases import RELEASES, of_kind, pods
from tests.chart.restricted import RULES, broken

pytestmark = pytest.mark.needs("helm")
STAGES = ("ingest", "embed", "train", "evaluate")
RUN: dict[str, Any] = {
    "model": {"path": "stabilityai/stable-diffusion-xl-base-1.0", "secret": "own-hub"},
    "datasets": [{"id": "a", "source": {"uri": "volume://pictures/cats", "secret": "other-s3"}}],
}


def defaults(objects: list[helm.Manifest]) -> PodDefaults:
    [found] = [
        one["data"]["pod-defaults.yaml"] for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"].endswith("-pods")
    ]
    return read_defaults(found, "pod-defaults.yaml")


def stage_pod(stage: str, given: PodDefaults, **compute: Any) -> dict[str, Any]:
    settings = StageSettings(
        store="s3://b", store_secret="s3", endpoint="", region="", ingest_image="r/ingest:1", stage_image="r/stage:1", defaults=given
    )
    spec = RUN | {"compute": {stage: compute}}
    order = Order(namespace="n", run="r", uid="u", stage=stage, attempt=1, spec=spec, source=None, model="")
    found: dict[str, Any] = build_job(order, settings)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("name", RELEASES)
def test_every_pod_is_restricted(name: str) -> None:
    found = {key: list(broken(pod["spec"])) for key, pod in pods(name).items()}
    assert found
    assert {key: rules for key, rules in found.items() if rules} == {}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", RELEASES)
def test_every_pod_of_a_run_is_restricted(name: str, stage: str) -> None:
    pod = stage_pod(stage, defaults(of_kind(name, "ConfigMap")))
    assert list(broken(pod)) == []


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_can_be_broken(rule: str) -> None:
    spoil: dict[str, Any] = {
        "no host namespaces": lambda pod, own: pod.update(hostNetwork=True),
        "no host ports": lambda pod, own: own.update(ports=[{"containerPort": 1, "hostPort": 1}]),
        "no privileged container": lambda pod, own: own["securityContext"].update(privileged=True),
        "no privilege escalation": lambda pod, own: own["securityContext"].pop("allowPrivilegeEscalation"),
        "all capabilities dropped": lambda pod, own: own["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        "not root": lambda pod, own: own["securityContext"].update(runAsNonRoot=False),
        "no user 0": lambda pod, own: own["securityContext"].update(runAsUser=0),
        "seccomp": lambda pod, own: own["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        "volume types": lambda pod, own: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        "no unmasked proc": lambda pod, own: own["securityContext"].update(procMount="Unmasked"),
        "no sysctls": lambda pod, own: pod["securityContext"].update(sysctls=[{"name": "a", "value": "b"}]),
        "no SELinux or AppArmor of its own": lambda pod, own: pod["securityContext"].update(seLinuxOptions={"user": "a"}),
    }
    pod = deepcopy(pods("trial")["Deployment/kubetuner-controller"]["spec"])
    spoil[rule](pod, pod["containers"][0])
    assert list(broken(pod)) == [rule]


@pytest.mark.parametrize("name", RELEASES)
def test_only_the_controller_and_the_test_have_a_token(name: str) -> None:
    found = pods(name)
    assert {key for key, pod in found.items() if pod["spec"]["automountServiceAccountToken"]} == {"Pod/kubetuner-test"}
    holders = {
        (key, container["name"])
        for key, pod in found.items()
        for volume in pod["spec"]["volumes"]
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))
        for container in pod["spec"]["containers"]
        if volume["name"] in {mount["name"] for mount in container["volumeMounts"]}
    }
    assert holders == {("Deployment/kubetuner-controller", "controller")}


@pytest.mark.parametrize("name", RELEASES)
def test_dry_runs_are_looked_at_beside_the_controller_by_a_socket(name: str) -> None:
    spec = pods(name)["Deployment/kubetuner-controller"]["spec"]
    controller, *beside = spec["containers"]
    told = {one["name"]: one.get("value") for one in controller["env"]}
    if name in ("no-service", "no-inspection"):
        assert not beside
        assert "KUBETUNER_INSPECTION" not in told
        return
    [looks] = beside
    own = {one["name"]: one.get("value", "set by the cluster") for one in looks["env"]}
    assert looks["command"] == ["python", "-m", "kubetuner.ingest.looks"]
    assert "/ingest:" in looks["image"]
    assert "readinessProbe" not in looks
    assert told["KUBETUNER_INSPECTION"] == own["KUBETUNER_LISTEN"]
    settings = rooms.read(own)
    socket = PurePosixPath(settings.listening.address.removeprefix("unix:"))
    mounts = [{mount["mountPath"]: mount for mount in one["volumeMounts"]}[str(socket.parent)] for one in (controller, looks)]
    assert [(mount["name"], mount.get("readOnly", False)) for mount in mounts] == [("inspection", True), ("inspection", False)]
    assert settings.store == "s3://kubetuner"
    ports = [port["containerPort"] for one in spec["containers"] for port in one["ports"]]
    assert len(ports) == len(set(ports)), "containers of a pod share its ports"
    assert f"[::]:{looks['livenessProbe']['grpc']['port']}" == settings.listening.health_address
    shared = {mount["name"] for mount in controller["volumeMounts"]} & {mount["name"] for mount in looks["volumeMounts"]}
    assert shared <= {"inspection", "ca"}


@pytest.mark.parametrize("name", RELEASES)
def test_what_stands_has_probes(name: str) -> None:
    for key, pod in pods(name).items():
        if not key.startswith("Pod/"):
            container = pod["spec"]["containers"][0]
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), key


@pytest.mark.parametrize("name", RELEASES)
def test_labels_are_those_of_the_house(name: str) -> None:
    for one in [
        *of_kind(name, "Deployment", "StatefulSet", "Service", "ConfigMap", "NetworkPolicy", "Role", "ClusterRole"),
        *pods(name).values(),
    ]:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "kubetuner"
        assert set(RELEASES[name].get("commonLabels", {}).items()) <= set(labels.items())


@pytest.mark.parametrize("name", RELEASES)
def test_the_controller_reads_what_it_is_told(name: str, tmp_path: Any) -> None:
    container = pods(name)["Deployment/kubetuner-controller"]["spec"]["containers"][0]
    environment = {one["name"]: one.get("value", "set by the cluster") for one in container["env"]}
    [pod_defaults] = [one["data"]["pod-defaults.yaml"] for one in of_kind(name, "ConfigMap") if one["metadata"]["name"] == "kubetuner-pods"]
    file = tmp_path / "pod-defaults.yaml"
    file.write_text(pod_defaults)
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert environment["KUBETUNER_POD_DEFAULTS"].rsplit("/", 1)[0] in mounted
    found = read(environment | {"KUBETUNER_POD_DEFAULTS": str(file)})
    assert found.watch_namespaces == tuple(RELEASES[name].get("watchNamespaces", ()))
    assert found.lease.name == "kubetuner-controller"
    assert found.stages.store == "s3://kubetuner"
    assert found.stages.store_secret in ("s3", "kubetuner-minio")


def test_pods_that_ask_for_gpus_get_what_the_preset_says() -> None:
    given = defaults(of_kind("whole", "ConfigMap"))
    with_gpu, without = stage_pod("train", given), stage_pod("train", given, resources={"gpus": 0})
    assert with_gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert with_gpu["nodeSelector"] == {"gpu": "h200"}
    assert with_gpu["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert not {"nodeSelector", "tolerations"} & set(without)
    assert "nvidia.com/gpu" not in without["containers"][0]["resources"]["limits"]


def test_a_run_s_own_token_wins_over_the_chart_s() -> None:
    entries = stage_pod("ingest", defaults(of_kind("whole", "ConfigMap")))["containers"][0]["env"]
    [token] = [one for one in entries if one["name"] == "HF_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"]["name"] == "own-hub"
    assert {"name": "HF_ENDPOINT", "value": "https://hub.example.com"} in entries
    assert {"name": "KUBETUNER_S3_PATH_STYLE", "value": "1"} in entries


def test_the_keys_of_the_store_s_secret_can_be_named_otherwise() -> None:
    objects = helm.render(RELEASES["own-store"], sets=["objectStore.auth.accessKey=rootUser", "objectStore.auth.secretKey=rootPassword"])
    entries = {one["name"]: one for one in stage_pod("embed", defaults(objects))["containers"][0]["env"]}
    assert entries["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["key"] == "rootUser"
    assert entries["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"]["key"] == "rootPassword"


def test_a_cluster_may_choose_the_user() -> None:
    objects = helm.render(RELEASES["trial"], sets=["runAsUser=null"])
    assert not [one for one in yaml.safe_dump_all(objects).splitlines() if "runAsUser:" in one and "null" not in one]
    assert "runAsUser" not in stage_pod("embed", defaults(objects))["securityContext"]


def test_a_digest_wins_over_the_tag() -> None:
    digest = f"sha256:{'a' * 64}"
    objects = helm.render(
        RELEASES["trial"], sets=["images.registry=r.example.com/team/", f"images.controller.digest={digest}", "images.controller.tag=v9"]
    )
    [controller] = [one for one in objects if one["kind"] == "Deployment"]
    container = controller["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"r.example.com/team/kubetuner/controller@{digest}"
    assert {"name": "KUBETUNER_IMAGES_STAGE", "value": "r.example.com/team/kubetuner/stage:0.1.0"} in container["env"]


@pytest.mark.parametrize(("replicas", "expected"), [(1, 0), (2, 1)])
def test_one_replica_alone_can_be_drained(replicas: int, expected: int) -> None:
    objects = helm.render(RELEASES["trial"], sets=[f"controller.replicas={replicas}"])
    assert len([one for one in objects if one["kind"] == "PodDisruptionBudget"]) == expected


@pytest.mark.parametrize("name", RELEASES)
def test_every_variable_of_ours_that_is_set_is_read_somewhere(name: str) -> None:
    source = "\n".join(file.read_text() for file in (helm.CHART.parents[1] / "services" / "kubetuner").rglob("*.py"))
    feed = {f"KUBETUNER_FEED_{part}" for part in ("CA", "CERT", "KEY")}  # put together from parts where they are read
    given = {one["name"] for pod in pods(name).values() for container in pod["spec"]["containers"] for one in container.get("env", [])} | {
        one["name"] for stage in STAGES for one in stage_pod(stage, defaults(of_kind(name, "ConfigMap")))["containers"][0]["env"]
    }
    assert [one for one in sorted(given - feed) if one.startswith(("KUBETUNER_", "AWS_")) and one not in source] == []


def test_a_standing_service_reads_what_it_is_told(tmp_path: Any) -> None:
    for stage in STAGES:
        pod = pods("whole")[f"Deployment/kubetuner-{stage}"]["spec"]
        [container] = pod["containers"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        environment = {one["name"]: one.get("value", "set by the cluster") for one in container["env"]}
        for variable in ("KUBETUNER_TLS_CERT", "KUBETUNER_TLS_KEY", "KUBETUNER_TLS_CLIENT_CA"):
            assert environment[variable].rsplit("/", 1)[0] in mounts
            environment[variable] = str(tmp_path / variable)
            (tmp_path / variable).touch()
        found = rooms.read(environment)
        assert found.request is None
        assert found.listening.tls is not None
        assert found.listening.tls.client_authority is not None
        assert {port["containerPort"] for port in container["ports"]} == {
            int(address.rsplit(":", 1)[1]) for address in (found.listening.address, found.listening.health_address)
        }
        assert environment["KUBETUNER_CACHE"] in mounts
        assert container["command"] == ["python", "-m", f"kubetuner.{stage}"]


def test_the_dashboard_shows_figures_that_there_are() -> None:
    [dashboard] = [one for one in of_kind("whole", "ConfigMap") if one["metadata"]["labels"].get("grafana_dashboard")]
    queries = [target["expr"] for panel in json.loads(dashboard["data"]["kubetuner.json"])["panels"] for target in panel["targets"]]
    named = {
        name
        for query in queries
        for name in re.findall(r"\b(?:kubetuner|controller_runtime|workqueue|rest_client|leader_election)_\w+", query)
    }
    metrics = Metrics().text().decode()
    known = set(re.findall(r"^# TYPE (\w+) ", metrics, re.MULTILINE))
    assert named
    assert {name for name in named if name not in known and name.removesuffix("_bucket") not in known} == set()
