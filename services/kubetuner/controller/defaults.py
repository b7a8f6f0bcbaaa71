"""What the chart says of the stages' pods, in a YAML file; what a run says itself comes first.

imagePullPolicy: IfNotPresent
imagePullSecrets: [name]
serviceAccountName: kubetuner-stage        # of each run's namespace; its token is not mounted
runAsUser: 65532                           # user and group of the pods; null leaves them to the cluster (OpenShift)
store: {accessKey: accessKey, secretKey: secretKey}    # names of the keys in KUBETUNER_STORE_SECRET
gpu: {resource: nvidia.com/gpu, nodeSelector: {}, tolerations: [], runtimeClassName: ""}    # of pods that ask for GPUs
caBundle: {configMap: name, key: ca.crt}   # or secret: name; AWS_CA_BUNDLE and SSL_CERT_FILE of the stages
tls: {secret: name}                        # kubernetes.io/tls with ca.crt: the stages' gRPC servers ask for client certificates of it
env: [{name: HF_ENDPOINT, value: https://mirror}]
labels: {}                                 # of the pods
annotations: {}
nodeSelector: {}                           # of every stage, below those of a stage
tolerations: []
priorityClassName: ""
schedulerName: ""
terminationGracePeriodSeconds: 120
cacheSize: 20Gi                            # bound of the emptyDir that models are fetched into
cacheVolume: claim                         # a PersistentVolumeClaim instead
stages:
  train:
    resources: {requests: {}, limits: {}}
    nodeSelector: {}
    tolerations: []
    runtimeClassName: nvidia
    shmSize: 1Gi
    env: []
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from kubetuner.controller.api import Json
from kubetuner.errors import InputError
from kubetuner.spec import document


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDefaults:
    """What the chart says of one stage."""

    resources: Json = field(default_factory=dict)
    nodeSelector: Json = field(default_factory=dict)
    tolerations: list[Json] = field(default_factory=list)
    runtimeClassName: str = ""
    shmSize: str = ""
    env: list[Json] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDefaults:
    """What the chart says of all stages; names as in the file."""

    imagePullPolicy: str = "IfNotPresent"
    imagePullSecrets: list[str] = field(default_factory=list)
    serviceAccountName: str = ""
    runAsUser: int | None = None
    store: Json = field(default_factory=dict)
    gpu: Json = field(default_factory=dict)
    caBundle: Json = field(default_factory=dict)
    tls: Json = field(default_factory=dict)
    env: list[Json] = field(default_factory=list)
    labels: Json = field(default_factory=dict)
    annotations: Json = field(default_factory=dict)
    nodeSelector: Json = field(default_factory=dict)
    tolerations: list[Json] = field(default_factory=list)
    priorityClassName: str = ""
    schedulerName: str = ""
    terminationGracePeriodSeconds: int = 120
    cacheSize: str = "50Gi"
    cacheVolume: str = ""
    stages: dict[str, StageDefaults] = field(default_factory=dict)

    def of(self, stage: str) -> StageDefaults:
        """What is said of one stage."""
        return self.stages.get(stage) or StageDefaults()


def read_defaults(text: str, name: str) -> PodDefaults:
    """The defaults in a YAML text; `name` stands in the errors. Raises InputError."""
    value = document.parse(text, name)
    given: Json = dict(_mapping(value or {}, name))
    stages = {
        stage: StageDefaults(**_known(_mapping(found or {}, f"{name}: stages.{stage}"), StageDefaults, f"{name}: stages.{stage}"))
        for stage, found in _mapping(given.pop("stages", None) or {}, f"{name}: stages").items()
    }
    return PodDefaults(**_known(given, PodDefaults, name), stages=stages)


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{place}: names with values are expected")
    return value


def _known(given: Json, of: type, place: str) -> Json:
    known = {one.name for one in fields(of)} - {"stages"}
    if unknown := set(given) - known:
        raise InputError(f"{place}: no such field {', '.join(sorted(unknown))}; here are {', '.join(sorted(known))}")
    return {key: value for key, value in given.items() if value is not None}
