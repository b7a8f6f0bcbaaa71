"""The batch Job of one attempt of one stage, as a manifest.

A pod finds its request as a file (from an annotation, by the downward API) and starts it by itself. It passes PodSecurity `restricted`, has
no token, and a root file system that cannot be written. What the run says comes before what the chart says. The template is made once and
never applied again: Kueue changes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubetuner.controller.api import JOB, RUN, SERVICE, Json
from kubetuner.controller.observe import ATTEMPT_LABEL, GPUS, MANAGED_LABEL, QUEUE_LABEL, RUN_LABEL, STAGE_LABEL
from kubetuner.controller.settings import StageSettings

REQUEST: Final = "kubetuner.dev/request"
LARGEST_REQUEST: Final = 200 * 1024
_NOT_FOR_STAGES: Final = ("suspend", "cancel", "managedBy", "queue", "compute")
_MASTER_PORT: Final = 29500
_SECRETS: Final = "/var/run/secrets/kubetuner.dev"
_CACHE: Final = "/var/cache/kubetuner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a Job is to do."""

    namespace: str
    run: str
    uid: str
    stage: str
    attempt: int
    spec: Json
    """The run's spec as given."""
    source: tuple[str, str] | None
    """Noun and fingerprint of the artifact before; None for the first stage."""
    model: str
    """Fingerprint of the base model in the store; empty where the spec's own is read."""


def job_name(run: str, stage: str, attempt: int) -> str:
    """Name of the Job, and of its headless Service."""
    return f"{run}-{stage}-{attempt}"


def request(order: Order) -> Json:
    """The Start request of the stage, as JSON."""
    spec = {key: value for key, value in order.spec.items() if key not in _NOT_FOR_STAGES}
    if order.model:
        model = {
            key: value for key, value in (spec.get("model") or {}).items() if key not in ("revision", "variant", "config", "secret", "vae")
        }
        spec["model"] = model | {"path": f"store:model/{order.model}"}
    found: Json = {
        "spec": spec,
        "requestId": f"{order.uid}-{order.stage}-{order.attempt}",
        "run": f"{order.namespace}/{order.run}",
        "attempt": order.attempt,
    }
    if order.source is not None:
        found["source"] = {"noun": order.source[0], "fingerprint": order.source[1]}
    if shards(order) > 1:
        found["shard"] = {"index": 0, "count": shards(order)}  # the pod's own index is in JOB_COMPLETION_INDEX
    return found


def asked(spec: Json, stage: str) -> Json:
    """What the run says of a stage's pods."""
    found: Json = (spec.get("compute") or {}).get(stage) or {}
    return found


def shards(order: Order) -> int:
    """Pods that share the stage's work."""
    return int(asked(order.spec, order.stage).get("shards", 1))


def nodes(order: Order) -> int:
    """Pods that do the stage's work together."""
    return int(asked(order.spec, order.stage).get("nodes", 1))


def build_service(order: Order) -> Json:
    """The headless Service by which the pods of one Job find each other."""
    name = job_name(order.run, order.stage, order.attempt)
    selector = {"batch.kubernetes.io/job-name": name}
    ports = [{"name": "rendezvous", "port": _MASTER_PORT, "protocol": "TCP"}]
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector, "ports": ports}
    return {"apiVersion": SERVICE.group_version, "kind": SERVICE.name, "metadata": _meta(order, name), "spec": spec}


def build_job(order: Order, settings: StageSettings) -> Json:
    """The Job."""
    name = job_name(order.run, order.stage, order.attempt)
    pods = nodes(order) * shards(order)
    resources = _resources(order, settings)
    gpus = _gpus(resources)
    meta = _meta(order, name)
    meta["annotations"] = {GPUS: str(gpus * pods)}
    if queue := order.spec.get("queue"):
        meta["labels"][QUEUE_LABEL] = queue
    annotations = dict(settings.defaults.annotations) | {REQUEST: json.dumps(request(order), separators=(",", ":"), ensure_ascii=False)}
    template = {
        "metadata": {"labels": dict(settings.defaults.labels) | _labels(order), "annotations": annotations},
        "spec": _pod(order, settings, name, resources, gpus),
    }
    spec: Json = {
        "completionMode": "Indexed",
        "completions": pods,
        "parallelism": pods,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"containerName": order.stage, "operator": "In", "values": [2]}},
                {"action": "Ignore", "onExitCodes": {"containerName": order.stage, "operator": "In", "values": [143]}},
            ]
        },
        "template": template,
    }
    if shards(order) > 1:  # the parts do not need each other: one is begun again on its own
        spec |= {"backoffLimitPerIndex": 1, "maxFailedIndexes": 0}
    else:
        spec["backoffLimit"] = 0
    return {"apiVersion": JOB.group_version, "kind": JOB.name, "metadata": meta, "spec": spec}


def _meta(order: Order, name: str) -> Json:
    owner: Json = {"apiVersion": RUN.group_version, "kind": RUN.name, "name": order.run, "uid": order.uid}
    owner |= {"controller": True, "blockOwnerDeletion": True}
    return {"name": name, "namespace": order.namespace, "labels": _labels(order), "ownerReferences": [owner]}


def _labels(order: Order) -> Json:
    return {
        "app.kubernetes.io/name": "kubetuner",
        "app.kubernetes.io/component": order.stage,
        MANAGED_LABEL: "kubetuner",
        RUN_LABEL: order.run,
        STAGE_LABEL: order.stage,
        ATTEMPT_LABEL: str(order.attempt),
    }


def _pod(order: Order, settings: StageSettings, name: str, resources: Json, gpus: int) -> Json:
    defaults, of_stage, given = settings.defaults, settings.defaults.of(order.stage), asked(order.spec, order.stage)
    compute: Json = order.spec.get("compute") or {}
    mounts, volumes = _volumes(order, settings)
    claims = given.get("resources", {}).get("resourceClaims") or []
    container = {
        "name": order.stage,
        "image": settings.image(order.stage),
        "imagePullPolicy": defaults.imagePullPolicy,
        "command": ["python", "-m", f"kubetuner.{order.stage}"],
        "env": _env(order, settings, name, gpus),
        "ports": [{"name": "grpc", "containerPort": 8080}, {"name": "health", "containerPort": 8081}],
        "resources": resources,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    device: Json = defaults.gpu if gpus else {}
    user: Json = {} if defaults.runAsUser is None else dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), defaults.runAsUser)
    optional = {
        "serviceAccountName": defaults.serviceAccountName,
        "imagePullSecrets": [{"name": one} for one in defaults.imagePullSecrets],
        "nodeSelector": dict(defaults.nodeSelector)
        | dict(device.get("nodeSelector") or {})
        | dict(of_stage.nodeSelector)
        | dict(given.get("nodeSelector") or {}),
        "tolerations": [
            *defaults.tolerations,
            *(device.get("tolerations") or []),
            *of_stage.tolerations,
            *(given.get("tolerations") or []),
        ],
        "affinity": _affinity(given.get("affinity") or {}),
        "runtimeClassName": given.get("runtimeClassName") or device.get("runtimeClassName") or of_stage.runtimeClassName,
        "priorityClassName": compute.get("priorityClassName") or defaults.priorityClassName,
        "schedulerName": compute.get("schedulerName") or defaults.schedulerName,
        "resourceClaims": claims,
        "subdomain": name if nodes(order) > 1 else "",
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": defaults.terminationGracePeriodSeconds,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}} | user,
        "containers": [container],
        "volumes": volumes,
    } | {key: value for key, value in optional.items() if value}


def _resources(order: Order, settings: StageSettings) -> Json:
    """Requests and limits of the container; accelerators stand in the limits alone."""
    base, given = settings.defaults.of(order.stage).resources, asked(order.spec, order.stage).get("resources") or {}
    requests, limits = dict(base.get("requests") or {}), dict(base.get("limits") or {})
    if cpu := given.get("cpu"):
        requests["cpu"] = cpu
        limits.pop("cpu", None)
    if memory := given.get("memory"):
        requests["memory"] = limits["memory"] = memory
    if "gpus" in given or given.get("resourceClaims"):
        for one in [key for key in limits if "/" in key]:
            del limits[one]
            requests.pop(one, None)
    if given.get("gpus"):
        limits[given.get("gpuResource") or settings.defaults.gpu.get("resource") or "nvidia.com/gpu"] = str(given["gpus"])
    found: Json = {}
    if requests:
        found["requests"] = requests
    if limits:
        found["limits"] = limits
    if claims := given.get("resourceClaims"):
        found["claims"] = [{"name": claim["name"]} for claim in claims]
    return found


def _gpus(resources: Json) -> int:
    """Accelerators of one pod: extended resources, or claims."""
    counted = [int(value) for key, value in (resources.get("limits") or {}).items() if "/" in key and str(value).isdigit()]
    return sum(counted) or len(resources.get("claims") or [])


def _env(order: Order, settings: StageSettings, name: str, gpus: int) -> list[Json]:
    found: list[Json] = [
        {"name": "KUBETUNER_STORE", "value": settings.store},
        {"name": "KUBETUNER_REQUEST", "value": "/etc/kubetuner/request.json"},
        {"name": "KUBETUNER_CACHE", "value": _CACHE},
        {"name": "HOME", "value": "/tmp"},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    if settings.endpoint:
        found.append({"name": "KUBETUNER_S3_ENDPOINT", "value": settings.endpoint})
    if settings.region:
        found.append({"name": "AWS_REGION", "value": settings.region})
    if settings.store_secret:
        keys = settings.defaults.store
        found.append(_secret("AWS_ACCESS_KEY_ID", settings.store_secret, keys.get("accessKey") or "accessKey"))
        found.append(_secret("AWS_SECRET_ACCESS_KEY", settings.store_secret, keys.get("secretKey") or "secretKey"))
    if settings.defaults.caBundle:
        path = f"/etc/kubetuner-ca/{settings.defaults.caBundle.get('key', 'ca.crt')}"
        found += [{"name": "AWS_CA_BUNDLE", "value": path}, {"name": "SSL_CERT_FILE", "value": path}]
    if settings.defaults.tls:
        files = (("CERT", "tls.crt"), ("KEY", "tls.key"), ("CLIENT_CA", "ca.crt"))
        found += [{"name": f"KUBETUNER_TLS_{variable}", "value": f"/etc/kubetuner-tls/{file}"} for variable, file in files]
    found += [*settings.defaults.env, *settings.defaults.of(order.stage).env]
    model_secret = (order.spec.get("model") or {}).get("secret")
    if model_secret and not order.model:
        found.append(_secret("HF_TOKEN", model_secret, "token", optional=True))
    if nodes(order) > 1 or (order.stage == "train" and gpus > 1):
        found += _torchrun(order, name, gpus)
    return list({one["name"]: one for one in found}.values())  # of two of one name the later counts, and a list has each once


def _torchrun(order: Order, name: str, gpus: int) -> list[Json]:
    """torchrun's own environment; the rank is the pod's index."""
    rank = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
    several = nodes(order) > 1
    return [
        {"name": "PET_NNODES", "value": str(nodes(order))},
        {"name": "PET_NPROC_PER_NODE", "value": str(max(1, gpus))},
        {"name": "PET_NODE_RANK", "valueFrom": rank},
        {"name": "PET_MASTER_ADDR", "value": f"{name}-0.{name}" if several else "127.0.0.1"},
        {"name": "PET_MASTER_PORT", "value": str(_MASTER_PORT)},
    ]


def _secret(variable: str, secret: str, key: str, *, optional: bool = False) -> Json:
    reference: Json = {"name": secret, "key": key} | ({"optional": True} if optional else {})
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}


def _volumes(order: Order, settings: StageSettings) -> tuple[list[Json], list[Json]]:
    """Mounts and volumes: request, temporary files, cache, shared memory, certificates, claims and Secrets that the spec names."""
    defaults, given = settings.defaults, asked(order.spec, order.stage)
    item = {"path": "request.json", "fieldRef": {"fieldPath": f"metadata.annotations['{REQUEST}']"}}
    shm = given.get("shmSize") or defaults.of(order.stage).shmSize or ("64Mi" if order.stage == "ingest" else "1Gi")
    cache: Json = (
        {"persistentVolumeClaim": {"claimName": defaults.cacheVolume}}
        if defaults.cacheVolume
        else {"emptyDir": {"sizeLimit": defaults.cacheSize}}
    )
    found: list[tuple[str, str, Json, bool]] = [
        ("request", "/etc/kubetuner", {"downwardAPI": {"items": [item]}}, True),
        ("tmp", "/tmp", {"emptyDir": {}}, False),
        ("cache", _CACHE, cache, False),
        ("shm", "/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": shm}}, False),
    ]
    if bundle := defaults.caBundle:
        source: Json = (
            {"configMap": {"name": bundle["configMap"]}} if "configMap" in bundle else {"secret": {"secretName": bundle.get("secret", "")}}
        )
        found.append(("ca", "/etc/kubetuner-ca", source, True))
    if defaults.tls:
        found.append(("tls", "/etc/kubetuner-tls", {"secret": {"secretName": defaults.tls["secret"]}}, True))
    claims = {claim: {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}} for claim in sorted(_claims(order))}
    found += [(f"claim-{claim}"[:63].rstrip("-"), f"/volumes/{claim}", volume, True) for claim, volume in claims.items()]
    for secret in sorted(_secrets(order)):
        volume = f"secret-{secret}".replace(".", "-")[:63].rstrip("-")
        found.append((volume, f"{_SECRETS}/{secret}", {"secret": {"secretName": secret}}, True))
    mounts = [{"name": name, "mountPath": path} | ({"readOnly": True} if only else {}) for name, path, _, only in found]
    return mounts, [{"name": name} | volume for name, _, volume, _ in found]


def _addresses(order: Order) -> list[Mapping[str, Any]]:
    """Everything of the spec that names a place, with its Secret. The base model is in the store once ingest has brought it."""
    model: Json = order.spec.get("model") or {}
    found: list[Mapping[str, Any]] = [
        dataset.get("source") or {} for dataset in order.spec.get("datasets") or [] if not dataset.get("disabled")
    ]
    if not order.model:
        secret = {"secret": model.get("secret", "")}
        found += [
            {"uri": model.get("path", "")} | secret,
            {"uri": model.get("config", "")},
            {"uri": (model.get("vae") or {}).get("path", "")},
        ]
    return found


def _claims(order: Order) -> set[str]:
    uris = [str(one.get("uri", "")) for one in _addresses(order)]
    return {uri.removeprefix("volume://").split("/")[0] for uri in uris if uri.startswith("volume://")} - {""}


def _secrets(order: Order) -> set[str]:
    return {str(one["secret"]) for one in _addresses(order) if one.get("secret")}


def _affinity(given: Json) -> Json:
    required, preferred = given.get("required") or [], given.get("preferred") or []
    found: Json = {}
    if required:
        found["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [{"matchExpressions": required}]}
    if preferred:
        found["preferredDuringSchedulingIgnoredDuringExecution"] = [{"weight": 100, "preference": {"matchExpressions": preferred}}]
    return {"nodeAffinity": found} if found else {}
