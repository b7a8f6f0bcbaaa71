"""Objects for tests of the cluster itself: Jobs and pods of plain Python that keep to PodSecurity `restricted`."""

from __future__ import annotations

from typing import Any, Final

IMAGE: Final = "localhost/python:3.11"
_UNPRIVILEGED: Final = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
_USER: Final = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}


def pod(program: str, *, gpus: int = 0, seconds_after_loss: int = 5) -> dict[str, Any]:
    """The spec of a pod that runs a Python program once."""
    container: dict[str, Any] = {
        "name": "main",
        "image": IMAGE,
        "command": ["python", "-u", "-c", program],
        "securityContext": _UNPRIVILEGED,
        "resources": {"limits": {"nvidia.com/gpu": gpus}} if gpus else {},
    }
    reasons = ("not-ready", "unreachable")
    keys = [f"node.kubernetes.io/{reason}" for reason in reasons]
    tolerations = [{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds_after_loss} for key in keys]
    return {
        "restartPolicy": "Never",
        "securityContext": _USER,
        "containers": [container],
        "tolerations": tolerations,
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
