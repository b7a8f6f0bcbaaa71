"""A container's process and a pod of them, of a node whose pods are processes: begun, looked at, ended, and what is told of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import urllib3

from tests.cluster.process_pods import Command, Json, Place

_LONGEST_PAUSE: Final = 30.0
_LONGEST_MESSAGE: Final = 4096


@dataclass(slots=True)
class Container:
    """A container's process, and what is to be told of it."""

    name: str
    image: str
    command: Command
    log: Path
    always: bool
    """Whether it is started again when it ends."""
    readiness: tuple[str, str] | None
    """URL and path of its probe."""
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    restarts: int = 0
    started: str = ""
    ended: Json | None = None
    again: float = 0.0

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command.arguments, env=self.command.environment, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        self.started, self.ended = now(), None

    def look(self, stopping: bool) -> None:
        """See how it stands; start it again where that is asked for."""
        assert self.process is not None
        code = self.process.poll()
        if code is None:
            self.ready = self.ready or self.readiness is None or _answers(*self.readiness)
            return
        if self.ended is None:
            self.kill()  # a container ends with its first process
            exit_code = code if code >= 0 else 128 - code
            message = self.command.termination.read_bytes()[:_LONGEST_MESSAGE]
            if not message and exit_code:  # terminationMessagePolicy FallbackToLogsOnError
                message = self.log.read_bytes()[-2048:]
            self.ended = {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed"}
            self.ended |= {"message": message.decode("utf-8", "replace"), "startedAt": self.started, "finishedAt": now()}
            self.ready = False
            self.again = time.monotonic() + min(_LONGEST_PAUSE, 2**self.restarts)
        elif self.always and not stopping and time.monotonic() > self.again:
            self.restarts += 1
            self.start()

    def ask(self) -> None:
        """Ask its first process to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End all its processes; of one that has ended already the number may be another's by now."""
        if self.process is not None and self.ended is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    @property
    def status(self) -> Json:
        state = {"terminated": self.ended} if self.ended else {"running": {"startedAt": self.started}}
        return {
            "name": self.name, "image": self.image, "imageID": "", "ready": self.ready, "started": not self.ended,
            "restartCount": self.restarts, "state": state,
        }  # fmt: skip


@dataclass(slots=True)
class Held:
    """A pod of this node."""

    place: Place
    containers: list[Container]
    begun: str
    told: Json = field(default_factory=dict)
    stop_by: float | None = None

    @property
    def over(self) -> bool:
        return all(one.ended and (self.stop_by is not None or not one.always) for one in self.containers)

    def stop(self, grace: float) -> None:
        """Ask it to stop, and end it after so many seconds."""
        if self.stop_by is None:
            self.stop_by = time.monotonic() + grace
            for one in self.containers:
                one.ask()
        elif time.monotonic() > self.stop_by:
            self.kill()

    def kill(self) -> None:
        for one in self.containers:
            one.kill()

    @property
    def status(self) -> Json:
        ready = all(one.ready for one in self.containers)
        phase = "Running"
        if self.over:
            phase = "Failed" if any(one.ended and one.ended["exitCode"] for one in self.containers) else "Succeeded"
        conditions = {"Initialized": True, "ContainersReady": ready, "Ready": ready}
        return {
            "phase": phase, "podIP": self.place.address, "podIPs": [{"ip": self.place.address}], "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}], "startTime": self.begun, "containerStatuses": [one.status for one in self.containers],
            "conditions": [{"type": name, "status": str(is_true)} for name, is_true in conditions.items()],
        }  # fmt: skip


def probe(container: Json, address: str) -> tuple[str, str] | None:
    """Server and path of a container's HTTP readiness probe, where it has one."""
    found = (container.get("readinessProbe") or {}).get("httpGet")
    if not found:
        return None
    ports = {port.get("name"): port["containerPort"] for port in container.get("ports") or []}
    return f"http://{address}:{ports.get(found['port'], found['port'])}", found.get("path", "/")


def _answers(server: str, path: str) -> bool:
    try:
        return urllib3.request("GET", server + path, retries=False, timeout=0.5).status < 400
    except urllib3.exceptions.HTTPError:
        return False


def now() -> str:
    """This moment, as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
