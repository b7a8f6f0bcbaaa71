"""A cluster in memory, with what makes real ones hard: versions, conflicts, watches that end, break, repeat or lose events, and a Job
controller with pods that a test moves on by hand."""

from __future__ import annotations

import asyncio
import copy
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from kubetuner.controller.api import JOB, POD, RUN, ApiError, Change, Json, Kind, Page
from kubetuner.controller.observe import MANAGED_LABEL

Key = tuple[str, str, str]


class FakeCluster:
    """Cluster over dicts."""

    def __init__(self) -> None:
        self.objects: dict[Key, Json] = {}
        self.history: list[tuple[int, str, str, Json]] = []
        """(version, kind, type, object) of each change."""
        self.version = 100
        self.oldest = 0
        """Watches from before this version are answered 410."""
        self.calls: Counter[str] = Counter()
        self.created: Counter[str] = Counter()
        """How often an object of this kind and name was made."""
        self.fault: Callable[[str, Kind], ApiError | None] = lambda verb, kind: None
        """Asked before each call; an error is raised, after the write where its status is 0 and its reason `Lost`."""
        self._changed = asyncio.Condition()

    async def list(self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int = 500, rest: str = "") -> Page:
        self._before("list", kind)
        found = [copy.deepcopy(one) for one in self._of(kind, namespace, labels) if _selected(one, fields)]
        start = int(rest or 0)
        return Page(
            items=found[start : start + limit], version=str(self.version), rest=str(start + limit) if start + limit < len(found) else ""
        )

    async def watch(self, kind: Kind, namespace: str, *, labels: str = "", version: str, seconds: float) -> AsyncIterator[Change]:
        self._before("watch", kind)
        at = int(version)
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while True:
            if at < self.oldest:
                raise ApiError(410, "Expired", "too old resource version")
            for number, of, change, found in list(self.history):
                if number > at and of == kind.name and _matches(found, labels) and namespace in ("", found["metadata"].get("namespace")):
                    yield Change(type=change, object=copy.deepcopy(found))
                at = max(at, number)
            left = ends - loop.time()
            if left <= 0:
                return
            async with self._changed:
                if self.version <= at:
                    try:
                        await asyncio.wait_for(self._changed.wait(), left)
                    except TimeoutError:
                        return

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        self._before("get", kind)
        return copy.deepcopy(self.must(kind, namespace, name))

    async def create(self, kind: Kind, namespace: str, body: Json, *, dry_run: bool = False) -> Json:
        lost = self._before("create", kind)
        if kind.plural.endswith("reviews"):
            return self.review(kind, body)
        found = copy.deepcopy(body)
        meta = found.setdefault("metadata", {})
        if namespace:
            meta["namespace"] = namespace
        if (kind.name, namespace, meta["name"]) in self.objects:
            raise ApiError(409, "AlreadyExists", f"{kind.plural} {meta['name']} already exists")
        meta |= {"uid": f"{kind.name.lower()}-{meta['name']}-{self.version}", "generation": 1, "creationTimestamp": "2026-11-22T10:00:00Z"}
        if kind == RUN:
            found.pop("status", None)
        if not dry_run:
            self.created[f"{kind.name}/{meta['name']}"] += 1
            self.put(kind, found, "ADDED")
        return self._after(found, lost)

    async def patch(self, kind: Kind, namespace: str, name: str, body: Json, *, sub: str = "") -> Json:
        lost = self._before("patch", kind)
        found = copy.deepcopy(self.must(kind, namespace, name))
        meta = body.get("metadata") or {}
        if meta.get("resourceVersion", found["metadata"]["resourceVersion"]) != found["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        if meta.get("uid", found["metadata"]["uid"]) != found["metadata"]["uid"]:
            raise ApiError(409, "Conflict", "the uid differs")
        before = copy.deepcopy(found.get("spec"))
        for part in ("status",) if sub == "status" else ("spec", "metadata"):
            if part in body:
                found[part] = _merged(found.get(part) or {}, {k: v for k, v in body[part].items() if k not in ("resourceVersion", "uid")})
        if found.get("spec") != before:
            found["metadata"]["generation"] += 1
        self.put(kind, found, "MODIFIED")
        return self._after(found, lost)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", foreground: bool = False) -> None:
        lost = self._before("delete", kind)
        found = self.objects.get((kind.name, namespace, name))
        if found is None or (uid and found["metadata"]["uid"] != uid):
            return
        pods = [one for one in self._of(POD, namespace, "") if _owner(one) == found["metadata"]["uid"]]
        if foreground and pods:
            if "deletionTimestamp" not in found["metadata"]:
                found = copy.deepcopy(found)
                found["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z"
                self.put(kind, found, "MODIFIED")
        else:
            self.remove(kind, namespace, name)
        self._after({}, lost)

    def review(self, kind: Kind, body: Json) -> Json:
        """The answer to a TokenReview or SubjectAccessReview; tests replace it."""
        return body

    def must(self, kind: Kind, namespace: str, name: str) -> Json:
        """The object, or ApiError 404."""
        found = self.objects.get((kind.name, namespace, name))
        if found is None:
            raise ApiError(404, "NotFound", f"{kind.plural} {name} not found")
        return found

    def put(self, kind: Kind, found: Json, change: str) -> None:
        """Write an object with a new version, and tell the watches."""
        self.version += 1
        meta = found["metadata"]
        meta["resourceVersion"] = str(self.version)
        self.objects[(kind.name, meta.get("namespace", ""), meta["name"])] = found
        self._tell(kind, change, found)

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Take an object away, and what it owns."""
        found = copy.deepcopy(self.objects.pop((kind.name, namespace, name)))
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        self._tell(kind, "DELETED", found)
        for of in (JOB, POD):
            for one in self._of(of, namespace, ""):
                if _owner(one) == found["metadata"]["uid"]:
                    self.remove(of, namespace, one["metadata"]["name"])

    def change(self, kind: Kind, namespace: str, name: str, **parts: Any) -> None:
        """Somebody else changes an object: parts are merged into it."""
        found = copy.deepcopy(self.must(kind, namespace, name))
        for part, value in parts.items():
            if part == "spec" and kind == RUN and _merged(found.get("spec") or {}, value) != found.get("spec"):
                found["metadata"]["generation"] += 1
            found[part] = _merged(found.get(part) or {}, value)
        self.put(kind, found, "MODIFIED")

    def of(self, kind: Kind) -> list[Json]:
        """All objects of a kind."""
        return self._of(kind, "", "")

    # The Job controller and the kubelet, one step at a time.

    def start_pod(self, job: Json, *, uid: str = "", index: int = 0, waiting: tuple[str, str] | None = None) -> Json:
        """A pod of the Job begins to run, or waits with a reason."""
        meta = job["metadata"]
        self.version += 1
        name = f"{meta['name']}-{index}-{uid or self.version}"
        owner = {"kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
        labels = dict(meta["labels"]) | {"batch.kubernetes.io/job-completion-index": str(index)}
        state: Json = {"waiting": {"reason": waiting[0], "message": waiting[1]}} if waiting else {"running": {}}
        status = {"phase": "Pending" if waiting else "Running", "podIP": "10.0.0.9", "containerStatuses": [{"state": state}]}
        pod = {
            "metadata": {"name": name, "namespace": meta["namespace"], "uid": f"pod-{name}", "labels": labels, "ownerReferences": [owner]},
            "status": status,
        }
        self.put(POD, pod, "ADDED")
        if not (job.get("status") or {}).get("startTime"):
            self.change(JOB, meta["namespace"], meta["name"], status={"startTime": "2026-11-22T10:00:01Z", "active": 1})
        return pod

    def end_pod(self, pod: Json, code: int, message: Json | None = None, *, disrupted: str = "", reason: str = "") -> None:
        """The pod ends with an exit code and a termination message."""
        meta = pod["metadata"]
        if (POD.name, meta["namespace"], meta["name"]) not in self.objects:
            return
        ended = {
            "exitCode": code,
            "message": json.dumps(message) if message else "",
            "reason": reason or ("Completed" if code == 0 else "Error"),
        }
        status: Json = {"phase": "Succeeded" if code == 0 else "Failed", "containerStatuses": [{"state": {"terminated": ended}}]}
        if disrupted:
            status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": disrupted}]
        self.change(POD, meta["namespace"], meta["name"], status=status)

    def end_job(self, job: Json, kind: str, reason: str = "", message: str = "") -> None:
        """The Job is Complete or Failed."""
        meta = job["metadata"]
        if (JOB.name, meta["namespace"], meta["name"]) in self.objects:
            condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": "2026-11-22T10:00:30Z"}
            self.change(JOB, meta["namespace"], meta["name"], status={"conditions": [condition], "completionTime": "2026-11-22T10:00:30Z"})

    def collect(self) -> None:
        """Jobs that are deleted in the foreground lose their pods, then go."""
        for job in self._of(JOB, "", ""):
            meta = job["metadata"]
            if "deletionTimestamp" in meta:
                self.remove(JOB, meta["namespace"], meta["name"])

    def _of(self, kind: Kind, namespace: str, labels: str) -> list[Json]:
        found = [one for (name, space, _), one in sorted(self.objects.items()) if name == kind.name and namespace in ("", space)]
        return [one for one in found if _matches(one, labels)]

    def _tell(self, kind: Kind, change: str, found: Json) -> None:
        self.history.append((self.version, kind.name, change, copy.deepcopy(found)))
        try:
            asyncio.get_running_loop().create_task(self._wake())
        except RuntimeError:  # no loop: nobody watches
            return

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _before(self, verb: str, kind: Kind) -> ApiError | None:
        self.calls[f"{verb} {kind.plural}"] += 1
        error = self.fault(verb, kind)
        if error is not None and error.reason != "Lost":
            raise error
        return error

    @staticmethod
    def _after(found: Json, lost: ApiError | None) -> Json:
        if lost is not None:
            raise lost
        return copy.deepcopy(found)


def _matches(found: Json, labels: str) -> bool:
    return not labels or (found["metadata"].get("labels") or {}).get(MANAGED_LABEL) == "kubetuner"


def _selected(found: Json, fields: str) -> bool:
    path, _, value = fields.partition("=")
    for name in path.split(".") if path else ():
        found = found.get(name) or {}
    return not fields or found == value


def _owner(found: Json) -> str:
    return next((one["uid"] for one in found["metadata"].get("ownerReferences") or () if one.get("controller")), "")


def _merged(held: Json, patch: Json) -> Json:
    found = dict(held)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = _merged(found[key], value)
        else:
            found[key] = copy.deepcopy(value)
    return found


def run_of(name: str = "dog", namespace: str = "team", **spec: Any) -> Json:
    """A small run that is right."""
    base: Json = {
        "model": {"path": "store:models/tiny"},
        "datasets": [{"id": "photographs", "source": {"uri": "store:datasets/photographs"}}],
        "train": {"maxSteps": 4},
    }
    return {
        "apiVersion": "kubetuner.dev/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": name, "namespace": namespace},
        "spec": base | spec,
    }
