"""The chart on a real API server: what it says to each object, and what upgrade, rollback and uninstall leave."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart import helm
from tests.chart.releases import RELEASES, pods, rendered
from tests.chart.test_pods import STAGES, defaults, stage_pod
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import until

pytestmark = [pytest.mark.needs("helm"), pytest.mark.needs("apiserver")]
ROOT = Path(__file__).parents[2]
FOREIGN = {"Certificate", "ServiceMonitor"}
RUN = ROOT / "examples" / "cluster.yaml"
SECONDS = 300


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without nodes that refuses pods which are not restricted."""
    with ControlPlane(folder=tmp_path_factory.mktemp("plane"), pod_security="restricted") as plane:
        for namespace in ("team-a", "team-b", helm.NAMESPACE):
            make_namespace(plane, namespace)
        yield plane


def make_namespace(plane: ControlPlane, name: str) -> None:
    """Make it, and wait for the account that its pods have."""
    plane.kubectl("create", "namespace", name)
    until(lambda: plane.kubectl.get("serviceaccount", "default", name), f"the default account of {name}", SECONDS)


class Release:
    """A release on a real API server."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.kubectl, self.namespace, self._plane = plane.kubectl, namespace, plane

    def helm(self, verb: str, *arguments: str, values: dict[str, Any] | None = None) -> str:
        command = [str(helm.get()), verb, "kubetuner", *arguments, "--namespace", self.namespace]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            if values is not None:
                yaml.safe_dump(values, file)
                file.flush()
                command += [str(helm.CHART), "--values", file.name]
            if verb == "install":
                command.append("--take-ownership")  # of a CRD that another release has left
            environment = {**os.environ, "KUBECONFIG": str(self._plane.kubeconfig)}
            ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def secret(self, name: str) -> dict[str, str]:
        found = self.kubectl.get("secret", name, self.namespace)
        assert found is not None, name
        data: dict[str, str] = found["data"]
        return data

    def run(self) -> dict[str, Any] | None:
        return self.kubectl.get("trainingrun", "line-drawings", self.namespace)

    def replicas(self) -> int | None:
        found = self.kubectl.get("deployment", "kubetuner-controller", self.namespace)
        return found["spec"]["replicas"] if found else None


@pytest.fixture
def release(plane: ControlPlane, request: pytest.FixtureRequest) -> Release:
    namespace = f"chart-{abs(hash(request.node.name)) % 10**8}"
    make_namespace(plane, namespace)
    return Release(plane, namespace)


@pytest.mark.parametrize("name", RELEASES)
def test_the_api_server_takes_every_object_and_every_pod(plane: ControlPlane, name: str) -> None:
    kept = [one for one in rendered(name) if one["kind"] not in FOREIGN]
    plane.kubectl.apply(*[one for one in kept if one["kind"] == "ServiceAccount"])
    refused = {
        f"{one['kind']}/{one['metadata']['name']}": said
        for one in kept
        if one["kind"] != "ServiceAccount" and (said := refusal(plane, one))
    }
    assert refused == {}
    stages = {stage: stage_pod(stage, defaults(kept)) for stage in STAGES}
    specs = {key: pod["spec"] for key, pod in pods(name).items()} | stages
    for key, spec in deepcopy(specs).items():
        spec.pop("priorityClassName", None)  # of another's making
        spec["restartPolicy"] = "Never"
        if key.startswith("StatefulSet") and "data" not in {one["name"] for one in spec["volumes"]}:
            spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data"}})
        specs[key] = spec
    made = {
        key: {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": helm.NAMESPACE}, "spec": spec}
        for key, spec in specs.items()
    }
    refused = {key: said for key, pod in made.items() if (said := refusal(plane, pod))}
    assert refused == {}


def refusal(plane: ControlPlane, given: dict[str, Any]) -> str:
    """What the server says against it, with warnings, but that it is there already."""
    done = plane.kubectl.run(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=json.dumps(given), check=False
    )
    return done.stderr.strip()


def test_a_pod_that_is_not_restricted_would_be_refused(plane: ControlPlane) -> None:
    spec = deepcopy(pods("trial")["Pod/kubetuner-test"]["spec"])
    spec |= {"serviceAccountName": "default", "securityContext": {}}
    spec["containers"][0]["securityContext"] = {}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": helm.NAMESPACE}, "spec": spec}
    assert 'violates PodSecurity "restricted' in refusal(plane, pod)


def test_upgrade_and_rollback_keep_the_secrets_and_uninstalling_keeps_runs(release: Release) -> None:
    trial = RELEASES["trial"]
    release.helm("install", values=trial)
    made = release.secret("kubetuner-tls"), release.secret("kubetuner-minio")
    until(lambda: release.kubectl.run("get", "trainingruns", "--all-namespaces", check=False).returncode == 0, "the new kind", SECONDS)
    release.kubectl("--namespace", release.namespace, "apply", "-f", RUN)

    release.helm("upgrade", values={**trial, "controller": {"replicas": 2}})
    assert (release.secret("kubetuner-tls"), release.secret("kubetuner-minio")) == made
    assert release.replicas() == 2
    release.helm("rollback", "1")
    assert (release.secret("kubetuner-tls"), release.secret("kubetuner-minio")) == made
    assert release.replicas() == 1
    assert release.run() is not None

    release.helm("uninstall")
    assert release.run() is not None
    assert release.replicas() is None
    assert release.secret("kubetuner-minio") == made[1]

    release.helm("install", values=trial)  # finds what it kept
    assert release.secret("kubetuner-minio") == made[1]
    release.helm("uninstall")


def test_the_controller_s_account_may_do_its_work_and_no_more(plane: ControlPlane, release: Release) -> None:
    release.helm("install", values=RELEASES["own-store"] | {"watchNamespaces": ["team-a"], "crds": {"enabled": False}})
    account = f"system:serviceaccount:{release.namespace}:kubetuner-controller"

    def may(verb: str, what: str, namespace: str) -> bool:
        said = plane.kubectl.run("auth", "can-i", verb, what, "--as", account, "--namespace", namespace, check=False)
        return said.stdout.strip() == "yes"

    rights = [
        ("create", "jobs.batch", "team-a"),
        ("patch", "trainingruns.kubetuner.dev/status", "team-a"),
        ("create", "subjectaccessreviews.authorization.k8s.io", "team-a"),
        ("patch", "leases.coordination.k8s.io/kubetuner-controller", release.namespace),
    ]
    for right in rights:  # the server takes each new role in after a moment
        until(lambda right=right: may(*right), f"the account may {right}", SECONDS)  # type: ignore[misc]
    assert not may("create", "jobs.batch", "team-b")
    assert not may("get", "secrets", "team-a")
    assert not may("create", "pods", "team-a")
    assert not may("patch", "leases.coordination.k8s.io/other", release.namespace)
    release.helm("uninstall")


def test_runs_are_shown_and_edited_by_the_cluster_s_own_roles(plane: ControlPlane, release: Release) -> None:
    release.helm("install", values=RELEASES["own-store"])
    plane.kubectl("--namespace", "team-a", "create", "serviceaccount", release.namespace)
    account = f"team-a:{release.namespace}"
    plane.kubectl("--namespace", "team-a", "create", "rolebinding", release.namespace, "--clusterrole=view", f"--serviceaccount={account}")

    def may(verb: str) -> bool:
        as_ = f"system:serviceaccount:{account}"
        said = plane.kubectl.run("auth", "can-i", verb, "trainingruns.kubetuner.dev", "--as", as_, "--namespace", "team-a", check=False)
        return said.stdout.strip() == "yes"

    until(lambda: may("list"), "the cluster's role `view` takes the new kind in", SECONDS)
    assert not may("create")
    release.helm("uninstall")
