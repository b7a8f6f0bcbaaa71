"""KubeTuner in the cluster: the chart, installed by helm with the images of this checkout, and a namespace of runs."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chart import helm
from tests.cluster.cluster import Cluster
from tests.cluster.images import IMAGES
from tests.cluster.kubectl import until_heard
from tests.cluster.object_store import BUCKET
from tests.cluster.process_cluster import ProcessCluster
from tests.cluster.processes import ClusterError

SYSTEM: Final = "kubetuner"
"""Namespace of the controller."""
TEAM: Final = "team"
"""Namespace of the runs."""
_SECRET: Final = "store-keys"
_PATIENCE: Final = {"KUBETUNER_RETRY_SECONDS": "2", "KUBETUNER_PROGRESS_SECONDS": "1"}
"""Less than the defaults: tests wait for it."""
_LONGEST: Final = "10m"
"""What only a hang takes."""
_ROOT: Final = Path(__file__).parents[2]
_RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The installed chart."""

    cluster: Cluster | ProcessCluster

    def install(self, *, threads: int = 1, **values: Any) -> None:
        """Install or upgrade it, and wait until the controller is ready; values go over those that tests need.

        Sums come out otherwise with another number of threads, so what is compared has the same.
        """
        kubectl = self.cluster.kubectl
        kubectl.apply(
            *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": _RESTRICTED}} for name in (SYSTEM, TEAM))
        )
        for name in (SYSTEM, TEAM):
            kubectl.apply(self.cluster.store.secret(_SECRET), namespace=name)
        file = self.cluster.folder / "values.json"
        ours = self._values(threads)
        file.write_text(json.dumps(ours | {name: {**ours.get(name, {}), **value} for name, value in values.items()}))
        chart = _ROOT / "charts" / "kubetuner"
        self.helm("upgrade", "--install", "kubetuner", chart, "--values", file, "--wait", "--timeout", _LONGEST)

    def uninstall(self) -> None:
        """Take it away; runs stay."""
        self.helm("uninstall", "kubetuner", "--wait", "--ignore-not-found", "--timeout", _LONGEST)

    def helm(self, *arguments: str | Path) -> str:
        """What helm prints."""
        command = [helm.get(), "--kubeconfig", self.cluster.kubeconfig, "--namespace", SYSTEM, *arguments]
        folders = {name: str(self.cluster.folder / "helm") for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
        settings = {**os.environ, **folders}
        again = ["cluster unreachable"]  # which it asks before anything else
        done = until_heard(lambda: subprocess.run(command, capture_output=True, text=True, check=False, env=settings), again)
        if done.returncode:
            raise ClusterError(f"helm {' '.join(map(str, arguments))}: {done.stderr.strip()}\n{self._why()}")
        return done.stdout

    def controllers(self) -> list[str]:
        """Names of the controller's pods that nobody has asked to end."""
        pods = self.cluster.kubectl.list("pods", SYSTEM, "app.kubernetes.io/component=controller")
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def controller_log(self) -> str:
        """What the controller has said."""
        if isinstance(self.cluster, ProcessCluster):
            files = sorted(self.cluster.logs.glob(f"{SYSTEM}_*.log"))
            return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')[-4000:]}" for file in files)
        return self.cluster.kubectl.run("--namespace", SYSTEM, "logs", "deployment/kubetuner-controller", "--tail=60", check=False).stdout

    def _why(self) -> str:
        events = self.cluster.kubectl.run("--namespace", SYSTEM, "get", "pods,events", check=False).stdout
        return f"{events}\n{self.controller_log()}"

    def _values(self, threads: int) -> dict[str, Any]:
        # Requests that two nodes fit into that share a small machine's cores.
        stage = {
            "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "6Gi"}},
            "extraEnv": [{"name": "OMP_NUM_THREADS", "value": str(threads)}],
        }
        return {
            "images": {
                "registry": "localhost",
                **{name: {"tag": IMAGES[name].tag.split(":")[1]} for name in ("controller", "ingest", "stage")},
            },
            "objectStore": {"endpoint": self.cluster.store.service, "bucket": BUCKET, "auth": {"existingSecret": _SECRET}},
            "networkPolicy": {"namespaces": [TEAM]},
            "controller": {"extraEnv": [{"name": name, "value": value} for name, value in _PATIENCE.items()]},
            "pods": {
                "terminationGracePeriodSeconds": 90,  # a busy machine takes its time to save a state
                "stages": {"ingest": stage, **{name: stage | {"gpus": 1} for name in ("embed", "train", "evaluate")}},
            },
        }
