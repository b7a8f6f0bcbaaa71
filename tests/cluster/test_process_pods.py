"""What a pod's processes are told, where its folders stand in for its mounts. Whole runs: tests/flow/test_kubectl.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.process_pods import NotThere, Place, command, furnish, relocated

MOUNTS = {"/etc/kubetuner": 1, "/etc/kubetuner/pods": 2, "/tmp": 3}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("/tmp", "/root/tmp"),
        ("/tmp/a", "/root/tmp/a"),
        ("/tmpfile", "/tmpfile"),
        ("/var/tmp", "/var/tmp"),
        ("unix:/etc/kubetuner/pods/socket", "unix:/root/etc/kubetuner/pods/socket"),
        ("/etc/kubetuner-ca/ca.crt", "/etc/kubetuner-ca/ca.crt"),
        ("/tmp:/etc/kubetuner", "/root/tmp:/root/etc/kubetuner"),
        ("s3://bucket/tmp", "s3://bucket/tmp"),
        ("", ""),
    ],
)
def test_paths_of_mounts_become_folders(value: str, wanted: str) -> None:
    assert relocated(value, MOUNTS, Path("/root")) == wanted


def _pod(**spec: Any) -> dict[str, Any]:
    meta = {"name": "pod", "namespace": "team", "uid": "1", "annotations": {"a/b": "noted"}, "labels": {}}
    return {"metadata": meta, "spec": {"nodeName": "here", **spec}, "status": {}}


def _nothing(plural: str, name: str) -> dict[str, Any]:
    raise NotThere(f'{plural.removesuffix("s")} "{name}" not found')


def _token(_: dict[str, Any]) -> dict[str, Any]:
    return {"users": [{"user": {"token": "t"}}]}


def _secret(plural: str, name: str) -> dict[str, Any]:
    assert (plural, name) == ("secrets", "keys")
    return {"data": {"key": "c2VjcmV0"}}


def test_volumes_are_folders_that_a_process_finds_by_its_variables(tmp_path: Path) -> None:
    sources = [
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    item = {"path": "request", "fieldRef": {"fieldPath": "metadata.annotations['a/b']"}}
    volumes = [
        {"name": "account", "projected": {"sources": sources}},
        {"name": "request", "downwardAPI": {"items": [item]}},
        {"name": "keys", "secret": {"secretName": "keys"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mounts = {"account": "/var/run/secrets/kubernetes.io/serviceaccount", "request": "/etc/request", "keys": "/etc/keys", "tmp": "/tmp"}
    container = {
        "name": "main",
        "command": ["python", "-m", "program"],
        "env": [
            {"name": "WHERE", "value": "/etc/request/request"},
            {"name": "LISTEN", "value": "[::]:8443"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
            {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
    }
    pod, place = _pod(volumes=volumes), Place(folder=tmp_path, address="127.9.0.1")
    furnish(pod, place, _secret, _token)
    found = command(pod, container, place, _secret).environment
    assert Path(found["WHERE"]).read_text() == "noted"
    assert (found["LISTEN"], found["KEY"], found["ADDRESS"]) == ("127.9.0.1:8443", "secret", "127.9.0.1")
    account = Path(found["KUBETUNER_KUBECONFIG"]).parent
    assert {file.name: file.read_text() for file in account.iterdir() if file.name != "kubeconfig"} == {"token": "t", "namespace": "team"}
    (Path(found["TMPDIR"]) / "file").write_text("of the pod's own")
    assert (place.volume("tmp") / "file").exists()


@pytest.mark.parametrize("where", ["volume", "variable"])
def test_what_is_not_there_is_named(tmp_path: Path, where: str) -> None:
    variable = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}
    volumes = [{"name": "keys", "secret": {"secretName": "keys"}}] if where == "volume" else []
    pod, place = _pod(volumes=volumes), Place(folder=tmp_path, address="127.9.0.1")
    container = {"name": "main", "command": ["python"], "env": [variable]}

    def begin() -> None:
        furnish(pod, place, _nothing, _token)
        command(pod, container, place, _nothing)

    with pytest.raises(NotThere, match='secret "keys" not found'):
        begin()


def test_a_variable_may_be_left_out_where_it_says_so(tmp_path: Path) -> None:
    variable = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key", "optional": True}}}
    container = {"name": "main", "command": ["python"], "env": [variable]}
    found = command(_pod(), container, Place(folder=tmp_path, address="127.9.0.1"), _nothing)
    assert found.environment["KEY"] == ""
