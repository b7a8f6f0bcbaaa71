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
_PATIENCE: Final = 60.0
"""For so long a server is asked again that stands still on a busy machine: the program itself gives up a connection after ten seconds."""
_NOT_HEARD: Final = ("TLS handshake timeout", "dial tcp", "was refused - did you specify")
"""What the program says where its request never reached the server: whatever it was, nothing has come of it."""
_NOT_ANSWERED: Final = ("etcdserver: ", "(Timeout)", "(ServiceUnavailable)")
_QUESTIONS: Final = frozenset({"get", "logs", "wait", "describe"})
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """kubectl with this kubeconfig."""

    kubeconfig: Path

    def run(
        self, *arguments: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 1200
    ) -> subprocess.CompletedProcess[str]:
        """Run it; where it fails a ClusterError with its own words, unless `check` is off."""
        command = [binaries.path("kubectl"), "--kubeconfig", self.kubeconfig, *arguments]
        again = (*_NOT_HEARD, *(() if _QUESTIONS.isdisjoint(map(str, arguments)) else _NOT_ANSWERED))
        done = until_heard(
            lambda: subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False), again
        )
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


def until(look: Callable[[], T | None], what: str, seconds: float = 300) -> T:
    """What `look` finds, as soon as it is true; a ClusterError after these seconds, which only spare a wait for what never comes."""
    deadline, pause = time.monotonic() + seconds, _PAUSE[0]
    while True:
        late = time.monotonic() > deadline  # before the look: we may have stood still ourselves
        if found := look():
            return found
        if late:
            raise ClusterError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.2, _PAUSE[1])


def until_heard(ask: Callable[[], subprocess.CompletedProcess[str]], words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """What a command of a client comes to; again, for a while, where it says one of these words of a server that it could not reach."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        late = time.monotonic() > deadline
        done = ask()
        if late or not done.returncode or not any(word in done.stderr for word in words):
            return done
        time.sleep(_PAUSE[1])


def _in(namespace: str | None) -> list[str]:
    return ["--namespace", namespace] if namespace else []
