"""kubectl for tests: the real program, with the answers as Python values."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.cluster import binaries
from tests.cluster.processes import ClusterError

_PAUSE: Final = (0.1, 0.6)  # a look is a process, which takes 50 ms of a core
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """kubectl with this kubeconfig."""

    kubeconfig: Path

    def run(
        self, *arguments: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run it; where it fails a ClusterError with its own words, unless `check` is off."""
        command = [binaries.path("kubectl"), "--kubeconfig", self.kubeconfig, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise ClusterError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done

    def __call__(self, *arguments: str | Path) -> str:
        """What it prints."""
        return self.run(*arguments).stdout.strip()

    def apply(self, *objects: dict[str, Any], namespace: str | None = None) -> None:
        """Apply objects."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run(*_in(namespace), "apply", "-f", "-", stdin=json.dumps(document))

    def refusal(self, *objects: dict[str, Any], namespace: str | None = None) -> str:
        """What the server says against objects; empty where it takes them. Nothing is stored."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        done = self.run(*_in(namespace), "create", "--dry-run=server", "-f", "-", stdin=json.dumps(document), check=False)
        return done.stderr.strip() if done.returncode else ""

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """An object, or None where there is none of this name."""
        answer = self(*_in(namespace), "get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(answer) if answer else None

    def list(self, kind: str, namespace: str | None = None, selector: str = "") -> Sequence[dict[str, Any]]:
        """The objects of a kind, of all namespaces where none is named."""
        where = _in(namespace) if namespace else ["--all-namespaces"]
        answer: dict[str, Any] = json.loads(self(*where, "get", kind, "-o", "json", *(["--selector", selector] if selector else [])))
        return answer["items"]


def until(look: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """What `look` finds, as soon as it is true; a ClusterError after these seconds."""
    deadline, pause = time.monotonic() + seconds, _PAUSE[0]
    while not (found := look()):
        if time.monotonic() > deadline:
            raise ClusterError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.2, _PAUSE[1])
    return found


def _in(namespace: str | None) -> list[str]:
    return ["--namespace", namespace] if namespace else []
