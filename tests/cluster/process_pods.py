"""A pod as plain processes of this user: its volumes are folders, and its containers' commands run where these stand in for theirs.

Nothing is confined and no image is looked at: `python` is the one that runs this file, with this checkout's code. Each pod has an address
of its own in 127.0.0.0/8. What a container finds at an absolute path, its process finds in a folder, so paths of mounts in its environment
and command become that folder's, and `[::]:8080` becomes the pod's address; our programs need no more to be told where they are.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.processes import MARK

Json = dict[str, Any]
Read = Callable[[str, str], Json]
"""The Secret or ConfigMap (by plural) of the pod's namespace with a name. Raises NotThere."""
Token = Callable[[Json], Json]
"""A new kubeconfig of the pod's account, for the `serviceAccountToken` of a projected volume."""

_ROOT: Final = Path(__file__).parents[2]
_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_ADDRESSES: Final = {"KUBETUNER_LISTEN": 8080, "KUBETUNER_HEALTH_LISTEN": 8081, "KUBETUNER_METRICS_LISTEN": 8080}
"""What our programs listen at unless they are told; beside other pods it must be told."""
_PLACES: Final = {"KUBETUNER_SECRETS": "/var/run/secrets/kubetuner.dev", "KUBETUNER_VOLUMES": "/volumes"}


class NotThere(Exception):
    """Something that the pod names is not there (yet), in a kubelet's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start for a container."""

    arguments: list[str]
    environment: dict[str, str]
    termination: Path
    """The file of its termination message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a pod lives."""

    folder: Path
    address: str

    def volume(self, name: str) -> Path:
        return self.folder / "volumes" / name

    def root(self, container: str) -> Path:
        """What stands in for a container's `/`."""
        return self.folder / "roots" / container


def furnish(pod: Json, place: Place, read: Read, token: Token) -> None:
    """Write the pod's volumes. Raises NotThere."""
    for volume in pod["spec"].get("volumes") or []:
        folder = place.volume(volume["name"])
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _files(pod, volume, read, token).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def command(pod: Json, container: Json, place: Place, read: Read) -> Command:
    """What to start for a container of a furnished pod. Raises NotThere."""
    root = place.root(container["name"])
    root.mkdir(parents=True, exist_ok=True)
    mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts") or []}
    for path, mount in mounts.items():
        here = root / path.lstrip("/")
        here.parent.mkdir(parents=True, exist_ok=True)
        if not here.is_symlink():
            here.symlink_to(place.volume(mount["name"]) / mount.get("subPath", ""))
    termination = root / "termination-log"
    termination.write_bytes(b"")

    def here_of(value: str) -> str:
        return relocated(value, mounts, root).replace("[::]:", f"{place.address}:")

    given = {one["name"]: here_of(_value(pod, one, place, read)) for one in container.get("env") or []}
    ours = {name: f"{place.address}:{port}" for name, port in _ADDRESSES.items()}
    ours |= {name: str(root / path.lstrip("/")) for name, path in _PLACES.items()}
    if _ACCOUNT in mounts:
        ours["KUBETUNER_KUBECONFIG"] = str(root / _ACCOUNT.lstrip("/") / "kubeconfig")
    if "/tmp" in mounts:
        ours["TMPDIR"] = str(root / "tmp")
    host = {name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE", MARK) if name in os.environ}
    paths = {"PYTHONPATH": f"{_ROOT / 'services'}:{_ROOT}", "KUBETUNER_TERMINATION_LOG": str(termination)}
    words = [here_of(word) for word in [*(container.get("command") or []), *(container.get("args") or [])]]
    if not words:
        raise NotThere(f"container {container['name']} names no command, and images are not looked at here")
    program = sys.executable if words[0] == "python" else words[0]
    return Command(arguments=[program, *words[1:]], environment=host | ours | given | paths, termination=termination)


def relocated(value: str, mounts: Mapping[str, Any], root: Path) -> str:
    """A text whose paths at or below a mount are those below another root."""
    if not mounts:
        return value
    paths = "|".join(re.escape(path) for path in sorted(mounts, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])(?:{paths})(?![\w.-])", lambda found: str(root / found[0].lstrip("/")), value)


def field(pod: Json, path: str, place: Place) -> str:
    """What the downward API says of a field."""
    if found := re.fullmatch(r"metadata\.(annotations|labels)\['(.*)'\]", path):
        return str((pod["metadata"].get(found[1]) or {}).get(found[2], ""))
    values = {f"metadata.{name}": pod["metadata"].get(name, "") for name in ("name", "namespace", "uid")}
    values |= {"status.podIP": place.address, "spec.nodeName": pod["spec"].get("nodeName", "")}
    if path not in values:
        raise NotThere(f"the field {path} is not known here")
    return str(values[path])


def _value(pod: Json, variable: Json, place: Place, read: Read) -> str:
    source = variable.get("valueFrom")
    if not source:
        return str(variable.get("value", ""))
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"], place)
    [(kind, reference)] = source.items()
    plural = {"secretKeyRef": "secrets", "configMapKeyRef": "configmaps"}[kind]
    try:
        found = _content(plural, read(plural, reference["name"]))
        return found[reference["key"]].decode()
    except (NotThere, KeyError) as fault:
        if reference.get("optional"):
            return ""
        if isinstance(fault, NotThere):
            raise
        raise NotThere(f"couldn't find key {reference['key']} in {plural} {pod['metadata']['namespace']}/{reference['name']}") from None


def _files(pod: Json, volume: Json, read: Read, token: Token) -> dict[str, bytes]:
    """The files of a volume; none of one that begins empty."""
    source = {key: value for key, value in volume.items() if key != "name"}
    if "projected" in source:
        parts = [_files(pod, {"name": volume["name"], **part}, read, token) for part in source["projected"]["sources"]]
        return {name: content for part in parts for name, content in part.items()}
    [(kind, what)] = source.items()
    if kind == "emptyDir":
        return {}
    if kind == "downwardAPI":
        place = Place(folder=Path(), address="")
        return {item["path"]: field(pod, item["fieldRef"]["fieldPath"], place).encode() for item in what["items"]}
    if kind == "serviceAccountToken":
        access = token(what)
        return {what["path"]: access["users"][0]["user"]["token"].encode(), "kubeconfig": json.dumps(access).encode()}
    if kind not in ("secret", "configMap"):
        raise NotThere(f"volume {volume['name']}: a {kind} cannot be had here")
    plural = f"{kind.lower()}s"
    found = _content(plural, read(plural, what.get("secretName") or what["name"]))
    if "items" not in what:
        return found
    return {item["path"]: found[item["key"]] for item in what["items"] if item["key"] in found}


def _content(plural: str, found: Json) -> dict[str, bytes]:
    data = found.get("data") or {}
    return {key: base64.b64decode(value) if plural == "secrets" else value.encode() for key, value in data.items()}
