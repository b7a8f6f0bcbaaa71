"""PodSecurity `restricted` of Kubernetes 1.36 as a table of rules, and what we ask of our pods beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

Pod = dict[str, Any]
_VOLUMES: Final = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def containers(pod: Pod) -> list[Pod]:
    """All containers of a pod's spec."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def _security(pod: Pod) -> Pod:
    found: Pod = pod.get("securityContext", {})
    return found


def _of_each(check: Callable[[Pod, Pod], bool]) -> Callable[[Pod], bool]:
    return lambda pod: all(check(pod, one.get("securityContext", {})) for one in containers(pod))


RULES: Final[dict[str, Callable[[Pod], bool]]] = {
    "no host namespaces": lambda pod: not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
    "no host ports": lambda pod: not any(port.get("hostPort") for one in containers(pod) for port in one.get("ports", [])),
    "no privileged container": _of_each(lambda _, own: not own.get("privileged")),
    "no privilege escalation": _of_each(lambda _, own: own.get("allowPrivilegeEscalation") is False),
    "all capabilities dropped": _of_each(
        lambda _, own: own.get("capabilities", {}).get("drop") == ["ALL"] and not own["capabilities"].get("add")
    ),
    "not root": _of_each(lambda pod, own: own.get("runAsNonRoot", _security(pod).get("runAsNonRoot")) is True),
    "no user 0": _of_each(lambda pod, own: own.get("runAsUser", _security(pod).get("runAsUser")) != 0),
    "seccomp": _of_each(
        lambda pod, own: (
            (own.get("seccompProfile") or _security(pod).get("seccompProfile") or {}).get("type") in ("RuntimeDefault", "Localhost")
        )
    ),
    "volume types": lambda pod: all(set(one) - {"name"} <= _VOLUMES for one in pod.get("volumes", [])),
    "no unmasked proc": _of_each(lambda _, own: own.get("procMount", "Default") == "Default"),
    "no sysctls": lambda pod: not _security(pod).get("sysctls"),
    "no SELinux or AppArmor of its own": lambda pod: not {"seLinuxOptions", "appArmorProfile", "windowsOptions"} & set(_security(pod)),
}
"""What the API server enforces."""

BEYOND: Final[dict[str, Callable[[Pod], bool]]] = {
    "read-only root": _of_each(lambda _, own: own.get("readOnlyRootFilesystem") is True),
    "no Services in the environment": lambda pod: pod.get("enableServiceLinks") is False,
    "says whether it has a token": lambda pod: "automountServiceAccountToken" in pod,
    "asks for memory and has a limit of it": lambda pod: all(
        "memory" in one.get("resources", {}).get("requests", {}) and "memory" in one["resources"].get("limits", {})
        for one in containers(pod)
    ),
    "asks for CPU": lambda pod: all("cpu" in one["resources"]["requests"] for one in containers(pod)),
    "no tag that moves": lambda pod: all(
        not one["image"].endswith(":latest") and (":" in one["image"].rsplit("/", 1)[-1]) for one in containers(pod)
    ),
    "a writable /tmp": lambda pod: all(any(mount["mountPath"] == "/tmp" for mount in one["volumeMounts"]) for one in pod["containers"]),
    "mounts what it declares": lambda pod: (
        {one["name"] for one in pod.get("volumes", [])}
        >= {mount["name"] for one in containers(pod) for mount in one["volumeMounts"]} - {"data"}
    ),
    "no variable twice": lambda pod: all(
        len({entry["name"] for entry in one.get("env", [])}) == len(one.get("env", [])) for one in containers(pod)
    ),
}
"""What we hold ourselves to."""


def broken(pod: Pod) -> Iterator[str]:
    """Names of the rules that a pod's spec breaks."""
    yield from (name for name, rule in (RULES | BEYOND).items() if not rule(pod))
