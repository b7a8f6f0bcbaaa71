"""What the caches keep of Jobs and pods: the fields that somebody reads. Whole objects are ten times as large, and there are thousands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kubetuner.controller.api import Json
from kubetuner.controller.observe import ATTEMPT_LABEL, GPUS, INDEX_LABEL, RUN_LABEL, STAGE_LABEL

_META: Final = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
_LABELS: Final = (RUN_LABEL, STAGE_LABEL, ATTEMPT_LABEL, INDEX_LABEL)
_CONDITION: Final = ("type", "status", "reason", "message", "lastTransitionTime")
_OWNER: Final = ("uid", "controller")
_STATES: Final[dict[str, tuple[str, ...]]] = {
    "waiting": ("reason", "message"),
    "terminated": ("exitCode", "reason", "message", "finishedAt"),
    "running": (),
}


def trim_job(job: Json) -> Json:
    """A Job without its pod template, which holds the whole request."""
    meta, spec, status = job["metadata"], job.get("spec") or {}, job.get("status") or {}
    kept = _meta(meta)
    if gpus := (meta.get("annotations") or {}).get(GPUS):
        kept["annotations"] = {GPUS: gpus}
    found = _only(status, ("startTime", "completionTime"))
    found["conditions"] = _conditions(status, ("Complete", "Failed"))
    return {"metadata": kept, "spec": {"suspend": bool(spec.get("suspend"))} | _only(spec, ("completions",)), "status": found}


def trim_pod(pod: Json) -> Json:
    """A pod without its spec, and of its containers the stage's alone."""
    meta, status = pod["metadata"], pod.get("status") or {}
    found = _only(status, ("phase", "podIP", "reason"))
    found["conditions"] = _conditions(status, ("PodScheduled", "DisruptionTarget"))
    stage, containers = (meta.get("labels") or {}).get(STAGE_LABEL), status.get("containerStatuses") or []
    container = next((one for one in containers if one.get("name") == stage), containers[0] if containers else None)
    if container is not None:
        state = {name: _only(container["state"][name], kept) for name, kept in _STATES.items() if name in (container.get("state") or {})}
        found["containerStatuses"] = [{"state": state}]
    return {"metadata": _meta(meta), "status": found}


def _meta(meta: Json) -> Json:
    kept = _only(meta, _META)
    kept["labels"] = _only(meta.get("labels") or {}, _LABELS)
    kept["ownerReferences"] = [_only(one, _OWNER) for one in meta.get("ownerReferences") or () if one.get("controller")]
    return kept


def _conditions(status: Json, kinds: Iterable[str]) -> list[Json]:
    return [_only(one, _CONDITION) for one in status.get("conditions") or () if one["type"] in kinds]


def _only(found: Json, names: Iterable[str]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found}
