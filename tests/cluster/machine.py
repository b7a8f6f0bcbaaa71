"""A machine on the host: its own processes and mounts, the host's kernel, network and disk.

It lives in namespaces of one `unshare`; when that is killed, the kernel ends all that runs in it and drops its mounts: a power failure.
The folders that Kubernetes' parts have compiled in are the machine's own, so that several machines do not fight over them.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.cluster import binaries
from tests.cluster.kubectl import until
from tests.cluster.processes import ClusterError, Daemon, lives

# Each is a folder of the machine. The host's, over which they are mounted, need to be there, and stay empty.
_OWN_FOLDERS: Final = (
    *("/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/run/containerd"),
    *("/var/log/pods", "/var/log/containers", "/etc/cni/net.d"),
)
_SECONDS: Final = 120
_GRACE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine whose disk is a folder."""

    folder: Path

    @property
    def on(self) -> bool:
        return self._power.pid is not None

    @property
    def _power(self) -> Daemon:
        return Daemon(folder=self.folder, name="power")

    def own(self, path: str) -> Path:
        """Where the host has what the machine calls by this path; one of `_OWN_FOLDERS` or below."""
        return self.folder / "disk" / path.lstrip("/")

    def boot(self) -> None:
        """Switch it on, unless it is."""
        mounts = []
        for name in _OWN_FOLDERS:
            Path(name).mkdir(parents=True, exist_ok=True)
            self.own(name).mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind {shlex.quote(str(self.own(name)))} {name}")
        # What is under /run is gone after a power failure.
        mounts.append("find /run/containerd -mindepth 1 -delete")
        script = " && ".join([*mounts, f"touch {shlex.quote(str(self.folder / 'booted'))}", f"exec {binaries.path('pause')}"])
        if not self.on:
            (self.folder / "booted").unlink(missing_ok=True)
        isolation = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private"]
        self._power.start(["unshare", *isolation, "--", "sh", "-c", script])
        self._power.until(lambda: (self.folder / "booted").exists(), _SECONDS)

    def power_off(self) -> None:
        """Cut the power: nothing in it gets to say a word."""
        first = _child(self._power.pid)
        self._power.kill()
        if first is not None:
            until(lambda: not lives(first), "the end of a machine's processes")

    def shut_down(self) -> None:
        """End its programs one by one, then switch it off."""
        for name in ("fakegpu", "kubelet", "containerd"):
            self.stop(name)
        self.power_off()

    def start(self, name: str, command: Sequence[str | Path]) -> Daemon:
        """Start a program in it, unless it runs."""
        daemon = Daemon(folder=self.folder, name=name)
        tools = {"PATH": f"{binaries.folder()}:{os.environ.get('PATH', '')}"}
        daemon.start([*self._enter(), *command], tools)
        return daemon

    def pid(self, name: str) -> int | None:
        """The host's number of a program that `start` started; None where it does not run."""
        return _child(Daemon(folder=self.folder, name=name).pid)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a program in it."""
        if (pid := self.pid(name)) is not None:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(pid, number)

    def end(self, name: str) -> None:
        """Kill a program in it, and wait until it can be started again: whoever waits for it in its place must have ended too."""

        def gone() -> bool:
            self.kill(name)
            return Daemon(folder=self.folder, name=name).pid is None

        until(gone, f"the end of {name}", _SECONDS)

    def stop(self, name: str) -> None:
        """End a program in it, at once where it does not end when asked."""
        self.kill(name, signal.SIGTERM)
        with suppress(ClusterError):
            until(lambda: Daemon(folder=self.folder, name=name).pid is None, f"the end of {name}", _GRACE)
        self.end(name)

    def run(self, *command: str | Path, timeout: float = 600) -> str:
        """What a command prints that is run in it."""
        done = subprocess.run([*self._enter(), *command], capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    @contextmanager
    def feeding(self, *command: str | Path) -> Iterator[IO[bytes]]:
        """Run a command in it that reads what is written."""
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen([*self._enter(), *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
            assert process.stdin is not None
            try:
                with suppress(BrokenPipeError), process.stdin:  # where it has ended, it says why
                    yield process.stdin
            finally:
                process.wait()
            said.seek(0)
            assert process.returncode == 0, f"{command}: {said.read().decode()}"

    def _enter(self) -> list[str]:
        first = _child(self._power.pid)
        assert first is not None, f"{self.folder.name} is off"
        return ["nsenter", "--target", str(first), "--mount", "--pid", "--"]


def forget_mount_points() -> None:
    """Remove the host's folders that machines were mounted over, where they are empty."""
    for name in _OWN_FOLDERS:
        place = Path(name)
        while place.is_dir() and not any(place.iterdir()) and place.parent != Path("/"):
            place.rmdir()
            place = place.parent


def _child(parent: int | None) -> int | None:
    """The first child of a process."""
    if parent is None:
        return None
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None
