"""Objects for tests of the cluster itself: Jobs and pods of plain Python that keep to PodSecurity `restricted`."""

from __future__ import annotations

from typing import Any, Final

IMAGE: Final = "localhost/python:3.11"
_UNPRIVILEGED: Final = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
_USER: Final = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}


def insistent(value: str) -> str:
    """A program that prints a value of sockets and the like, as soon as it can be had."""
    return f"""
import socket, time
from urllib.request import urlopen
for _ in range(120):
    try:
        print({value})
        break
    except OSError as fault:
        print(fault)
        time.sleep(1)
"""


def pod(program: str, *, gpus: int = 0) -> dict[str, Any]:
    """The spec of a pod that runs a Python program once."""
    container: dict[str, Any] = {
        "name": "main",
        "image": IMAGE,
        "command": ["python", "-u", "-c", program],
        "securityContext": _UNPRIVILEGED,
        "resources": {"limits": {"nvidia.com/gpu": gpus}} if gpus else {},
    }
    return {
        "restartPolicy": "Never",
        "securityContext": _USER,
        "containers": [container],
        "terminationGracePeriodSeconds": 2,
    }


def single(name: str, program: str, *, labels: dict[str, str] | None = None, gpus: int = 0) -> dict[str, Any]:
    """A pod by itself."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": pod(program, gpus=gpus)}


def job(name: str, program: str, *, gpus: int = 0) -> dict[str, Any]:
    """A Job as the controller makes them: one pod at a time, and the loss of a node is no failure."""
    lost = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    spec = {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": [lost]},
        "template": {"spec": pod(program, gpus=gpus)},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
