"""Processes that outlive the command that starts them, and can be found and ended by any later one, also after a crash.

Each writes its number and its time of birth into `<folder>/<name>.pid`, so that no stranger who inherited the number is ever touched,
and carries the folder's address in its environment, by which `sweep` finds those that died before they could write.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

MARK: Final = "KUBETUNER_CLUSTER_FOLDER"
"""Variable by which `sweep` finds a process; what one starts by itself should hand it on."""
_POLL_SECONDS: Final = 0.05
_SECONDS_TO_HEED: Final = 60
"""Longest time until a signal that nobody can refuse has done its work, on a machine that is busy with other things."""


class ClusterError(Exception):
    """The cluster cannot do what was asked; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A named process of a folder: started once, found again, stopped."""

    folder: Path
    name: str

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its number, where it lives."""
        try:
            number, birth = self._file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(number) if _birth(int(number)) == birth else None

    @property
    def began(self) -> float:
        """When it was last started, in seconds since 1970; 0 where it never was."""
        return self._file.stat().st_mtime if self._file.exists() else 0.0

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start it where it does not live yet."""
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), MARK: str(self.folder), **(environment or {})}
        written = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        opened = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, str(self.log), written, 0o644)]
        files = [*opened, (os.POSIX_SPAWN_DUP2, 1, 2), *((os.POSIX_SPAWN_CLOSE, number) for number in _inheritable())]
        arguments = list(map(str, command))
        pid = os.posix_spawnp(arguments[0], arguments, settings, file_actions=files, setsid=True)
        self._file.write_text(f"{pid} {_birth(pid)}")
        while lives(pid) and not _variables(pid):  # the kernel lets us go on a moment before these are in place, by which `sweep` finds it
            time.sleep(0.001)

    def signal(self, number: int) -> None:
        """Send a signal where it lives."""
        if (pid := self.pid) is not None:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(pid, number)

    def pause(self) -> None:
        """Let it stand still: all its threads, when this returns."""
        self.signal(signal.SIGSTOP)
        deadline = time.monotonic() + _SECONDS_TO_HEED
        while (pid := self.pid) is not None and not _stands_still(pid):
            assert time.monotonic() < deadline, f"{self.name} does not stand still"
            time.sleep(_POLL_SECONDS)

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def stop(self, grace: float = 20) -> None:
        """Ask it to end, and end it after these seconds."""
        self.signal(signal.SIGTERM)
        if not self._gone_within(grace):
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)
        assert self._gone_within(_SECONDS_TO_HEED), f"{self.name} does not die"

    def until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until it is ready; an error with the end of its log where it dies or takes longer."""
        deadline = time.monotonic() + seconds
        while True:
            lives, late = self.pid is not None, time.monotonic() > deadline  # before the look: we may have stood still ourselves
            if ready():
                return
            if late or not lives:
                why = f"is not ready after {seconds:.0f} s" if lives else "ended"
                raise ClusterError(f"{self.name} {why}; the end of {self.log}:\n{self.tail()}")
            time.sleep(_POLL_SECONDS)

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


class Lasting:
    """What stays up until its `down`, or as a context until that ends; what did not come up whole leaves nothing there."""

    __slots__ = ()

    def up(self) -> None:
        raise NotImplementedError

    def down(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """No other process is within `alone` of the same file meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sweep(folder: Path) -> int:
    """End all that was started for this folder or one below it and still lives, and wait until it is gone; how many that were."""
    found = [(pid, _birth(pid)) for pid, place in _marked() if place == folder or folder in place.parents]
    for pid, _ in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _SECONDS_TO_HEED
    for pid, birth in found:
        while birth and _birth(pid) == birth:
            assert time.monotonic() < deadline, f"process {pid} does not die"
            time.sleep(_POLL_SECONDS)
    return len(found)


def folders() -> set[Path]:
    """For which folders anything lives, of whichever checkout."""
    return {place for _, place in _marked()}


def _marked() -> Iterator[tuple[int, Path]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        for variable in _variables(int(entry.name)):
            if variable.startswith(f"{MARK}=".encode()):
                yield int(entry.name), Path(os.fsdecode(variable.split(b"=", 1)[1]))


def _variables(pid: int) -> list[bytes]:
    """A process's environment; empty where it is gone or another user's."""
    try:
        return [variable for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if variable]
    except OSError:
        return []


def _inheritable() -> Iterator[int]:
    """Files of ours that a new process would hold open for its whole life: a lock or a pipe of whoever started us."""
    for number in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # the listing's own is closed by now
            if number > 2 and os.get_inheritable(number):
                yield number


def _stands_still(pid: int) -> bool:
    states = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has ended
            states.append((task / "stat").read_text().rsplit(")", 1)[1].split()[0])
    return all(state in "TZX" for state in states)


def lives(pid: int) -> bool:
    """Whether a process runs: one that has ended and that nobody has waited for does not."""
    return bool(_birth(pid))


def _birth(pid: int) -> str:
    """When it was born, in ticks since the machine was; empty where it does not live."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    if fields[0] in "ZX":
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # a dead child of ours
        return ""
    return fields[19]
