"""A node whose pods are plain processes, for machines that can run no containers: a kubelet in small.

    python -m tests.cluster.process_node KUBECONFIG FOLDER [GPUS]     what `cluster-up` runs without root

It tells of itself by a Lease, starts what the scheduler gives it, tells how that stands and ends, and asks it to stop when its pod is
deleted. Left out are what containers are (see process_pods.py), addresses and names of Services, all probes but HTTP readiness, and logs by
kubectl: they are files in FOLDER/logs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.cluster import process_pods
from tests.cluster.api import APPLY, STRATEGIC, Api, ApiFault, kubeconfig
from tests.cluster.process_containers import Container, Held, now, probe
from tests.cluster.process_pods import Json, NotThere, Place

NAME: Final = "processes"
PODS: Final = "pods"
"""In the node's folder, a link to the folder of its pods."""
_POLL_SECONDS: Final = 0.2
_BEAT_SECONDS: Final = 3.0
_TOKEN_SECONDS: Final = 7 * 24 * 3600
_OVER: Final = ("Succeeded", "Failed")


class Node:
    """The node."""

    def __init__(self, api: Api, folder: Path, gpus: int) -> None:
        self._api, self._folder, self._gpus = api, folder, gpus
        self._places: dict[str, Place] = {}
        self._held: dict[str, Held] = {}
        self._waits: dict[str, str] = {}
        self._subnet = random.SystemRandom().randrange(2, 254)  # other nodes of this kind may be on the machine
        self._count = 0
        self._beat = 0.0
        self._pods = Path(tempfile.mkdtemp(prefix="kt-", dir="/tmp"))  # the address of a socket has at most 107 characters
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        (folder / PODS).unlink(missing_ok=True)
        (folder / PODS).symlink_to(self._pods)

    def turn(self) -> None:
        """Bring everything one step on. Raises ApiFault."""
        if time.monotonic() - self._beat > _BEAT_SECONDS:
            self._tell_of_itself()
            self._beat = time.monotonic()
        pods = {pod["metadata"]["uid"]: pod for pod in self._api.items(f"/api/v1/pods?fieldSelector=spec.nodeName={NAME}")}
        for uid, pod in pods.items():
            self._bring_on(uid, pod)
        for uid in self._places.keys() - pods.keys():
            if held := self._held.pop(uid, None):
                held.kill()
            self._waits.pop(uid, None)
            shutil.rmtree(self._places.pop(uid).folder, ignore_errors=True)

    def close(self) -> None:
        """End all of them at once."""
        for held in self._held.values():
            held.kill()
        shutil.rmtree(self._pods, ignore_errors=True)

    def _bring_on(self, uid: str, pod: Json) -> None:
        held, deleting = self._held.get(uid), "deletionTimestamp" in pod["metadata"]
        phase = pod["status"].get("phase")
        if held is None:
            if deleting:
                self._remove(pod)
            elif phase == "Running":  # of an earlier process of this node
                self._tell(pod, {"phase": "Failed", "reason": "Lost", "message": "the node's process was not there to follow it"})
            elif phase not in _OVER:
                self._start(uid, pod)
            return
        if deleting:
            held.stop(float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))
        for one in held.containers:
            one.look(stopping=held.stop_by is not None)
        if (status := held.status) != held.told or not _says(pod, status):
            self._tell(pod, status)
            held.told = status
        if deleting and held.over:
            self._remove(pod)

    def _start(self, uid: str, pod: Json) -> None:
        place = self._place(uid)
        try:
            process_pods.furnish(pod, place, lambda plural, name: self._read(pod, plural, name), lambda what: self._token(pod, what))
            containers = [self._container(pod, one, place) for one in pod["spec"]["containers"]]
        except NotThere as missing:
            if self._waits.get(uid) != str(missing):
                self._waits[uid] = str(missing)
                waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": str(missing)}}
                rows = [{"name": one["name"], "image": one["image"], "state": waiting} for one in pod["spec"]["containers"]]
                rows = [{**row, "imageID": "", "ready": False, "restartCount": 0} for row in rows]
                self._tell(pod, {"phase": "Pending", "containerStatuses": rows})
            return
        for one in containers:
            one.start()
        self._held[uid] = Held(place=place, containers=containers, begun=now())

    def _place(self, uid: str) -> Place:
        """The pod's, the same however often it must be tried to start it."""
        if uid not in self._places:
            self._count += 1
            address = f"127.{self._subnet}.{self._count // 250}.{self._count % 250 + 1}"
            self._places[uid] = Place(folder=self._pods / str(self._count), address=address)
        return self._places[uid]

    def _container(self, pod: Json, container: Json, place: Place) -> Container:
        meta = pod["metadata"]
        found = process_pods.command(pod, container, place, lambda plural, name: self._read(pod, plural, name))
        return Container(
            name=container["name"], image=container["image"], command=found,
            log=self._folder / "logs" / f"{meta['namespace']}_{meta['name']}_{container['name']}.log",
            always=pod["spec"].get("restartPolicy", "Always") == "Always", readiness=probe(container, place.address),
        )  # fmt: skip

    def _read(self, pod: Json, plural: str, name: str) -> Json:
        try:
            return self._api.call("GET", f"/api/v1/namespaces/{pod['metadata']['namespace']}/{plural}/{name}")
        except ApiFault as fault:
            if fault.status != 404:
                raise
            raise NotThere(f'{plural.removesuffix("s")} "{name}" not found') from None

    def _token(self, pod: Json, what: Json) -> Json:
        meta, account = pod["metadata"], pod["spec"].get("serviceAccountName") or "default"
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        spec: Json = {"expirationSeconds": _TOKEN_SECONDS, "boundObjectRef": bound}  # it is not renewed
        if what.get("audience"):
            spec["audiences"] = [what["audience"]]
        path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return kubeconfig(self._api.cluster, self._api.call("POST", path, body)["status"]["token"])

    def _tell(self, pod: Json, status: Json) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        self._unless_gone("PATCH", path, {"metadata": {"uid": meta["uid"]}, "status": status}, STRATEGIC)

    def _remove(self, pod: Json) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self._unless_gone("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}, "application/json")

    def _unless_gone(self, method: str, path: str, body: Any, content: str) -> None:
        try:
            self._api.call(method, path, body, content=content)
        except ApiFault as fault:
            if fault.status != 404:  # of another pod that has its name it is 409, and the next look does not see this one
                raise

    def _tell_of_itself(self) -> None:
        room = {"cpu": str(max(4, os.cpu_count() or 1)), "memory": "64Gi", "ephemeral-storage": "64Gi", "pods": "60"}
        room["nvidia.com/gpu"] = str(self._gpus)
        ready = {"type": "Ready", "status": "True", "reason": "Turns", "message": "", "lastHeartbeatTime": now()}
        name = {"name": NAME, "labels": {"kubernetes.io/hostname": NAME, "kubernetes.io/os": "linux"}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": name}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}
        renewed = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        lease["spec"] = {"holderIdentity": NAME, "leaseDurationSeconds": 40, "renewTime": renewed}
        manager = f"fieldManager={NAME}&force=true"
        if not self._beat:
            self._api.call("PATCH", f"/api/v1/nodes/{NAME}?{manager}", node, content=APPLY)
        # Each time: where this process stood still for longer than nodes may be silent, others have said that it is not ready.
        status = {"capacity": room, "allocatable": room, "conditions": [ready]}
        node["metadata"] = {"name": NAME}
        self._api.call("PATCH", f"/api/v1/nodes/{NAME}/status?{manager}", node | {"status": status}, content=APPLY)
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        self._api.call("PATCH", f"{leases}/{NAME}?{manager}", lease, content=APPLY)


def _says(pod: Json, status: Json) -> bool:
    """Whether the server has this node's word on a pod: of a node that was silent for long, others say that its pods are not ready."""
    held = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return pod["status"].get("phase") == status["phase"] and all(held.get(one["type"]) == one["status"] for one in status["conditions"])


def main() -> None:
    """Be the node until asked to end."""
    node = Node(Api(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    ends = False

    def end(*_: object) -> None:
        nonlocal ends
        ends = True

    signal.signal(signal.SIGTERM, end)
    while not ends:
        try:
            node.turn()
        except ApiFault as fault:
            print(json.dumps({"fault": str(fault)}), flush=True)
        time.sleep(_POLL_SECONDS)
    node.close()


if __name__ == "__main__":
    main()
