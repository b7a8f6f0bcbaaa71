"""Runs that die at a named moment, many of them at little cost: a server has imported everything and forks a process for each.

    python -m tests.flow.killing BASE    reads one JSON request a line, answers each with one line

A request: {"store": address, "out": folder, "death": {...}}; deaths are described at `Death`. An answer: {"signal", "code"}.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

from kubetuner.context import StageContext
from kubetuner.flow import STAGES
from kubetuner.storage import Content, ObjectStore, open_store
from kubetuner.storage.store import ObjectInfo
from tests.beating import beating
from tests.processes import has_ended, heeds

ORDER: Final = {stage.name: number for number, stage in enumerate(STAGES)}
_SERVER: Final = "tests.flow.killing"
_LONGEST: Final = 1800
"""Seconds after which a run is ended that waits for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """When a run dies; in `stage`, at the `number`th of the things that `at` names, or as soon as it has left that stage."""

    at: str
    """units: progress is made. checks: it looks whether to stop (between the batches of an accumulated step too). puts, put: before or
    after an object is written. seconds: by the clock, from without, with `signal`; so long after it begins to heed one that it can."""
    stage: str = ""
    number: float = 0
    signal: int = signal.SIGKILL


@dataclass
class Watched:
    """Counts what a run does in each stage, and kills its own process where it is time to die. Progress, flag and store in one."""

    death: Death | None
    counts: dict[str, int] = field(default_factory=dict)
    _stage: str = "ingest"

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        self._stage = stage
        if self.death is not None and self.death.stage and ORDER[stage] > ORDER[self.death.stage]:
            os.kill(os.getpid(), self.death.signal)
        self.count("units", 0)

    def advance(self, count: int = 1, **figures: float) -> None:
        self.count("units", count)

    def note(self, message: str) -> None:
        pass

    def count(self, kind: str, by: int = 1) -> None:
        key = f"{self._stage} {kind}"
        self.counts[key] = self.counts.get(key, 0) + by
        death = self.death
        if death is not None and (death.stage, death.at) == (self._stage, kind) and self.counts[key] >= death.number:
            os.kill(os.getpid(), death.signal)


class WatchedFlag(threading.Event):
    """A flag that counts how often it is looked at."""

    def __init__(self, watched: Watched) -> None:
        super().__init__()
        self._watched = watched

    def is_set(self) -> bool:
        self._watched.count("checks")
        return super().is_set()


@dataclass
class WatchedStore:
    """A store whose writes are counted before and after."""

    store: ObjectStore
    watched: Watched

    @property
    def uri(self) -> str:
        return self.store.uri

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        self.watched.count("puts")
        done = self.store.put(key, data, replace=replace, durable=durable)
        self.watched.count("put")
        return done

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return beating(key, self.store.get(key, start, length))  # that a process has ended frees its claims, and not that it is slow

    def head(self, key: str) -> int | None:
        return self.store.head(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return self.store.list(prefix)

    def delete(self, key: str) -> None:
        self.watched.count("puts")
        self.store.delete(key)


def _run(base: Path, request: dict[str, Any]) -> int:
    """In the child: the run of BASE/run.yaml, as the command does it. Counts go to a file beside `out`."""
    from kubetuner import local
    from kubetuner.spec.load import load_run
    from kubetuner.spec.resolve import resolve

    death = Death(**request["death"]) if request["death"] else None
    if death is not None and death.at == "seconds":
        from kubetuner.cli.main import main

        return main(["run", str(base / "run.yaml"), "--store", request["store"], "--out", request["out"], "--device", "cpu", "--json"])
    watched = Watched(death)
    ctx = StageContext(
        store=WatchedStore(open_store(request["store"]), watched),
        base=base,
        device="cpu",
        progress=watched,
        cancelled=WatchedFlag(watched),
    )
    outcome = local.run(resolve(load_run(base / "run.yaml")), Path(request["out"]), ctx)
    Path(f"{request['out']}.json").write_text(json.dumps({"counts": watched.counts, "result": outcome.result}))
    return 0


def _child(base: Path, request: dict[str, Any]) -> None:
    with open(base / "log", "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    code = 99
    signal.alarm(_LONGEST)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # before the command heeds it, and when it is through
    try:
        code = _run(base, request)
    except BaseException:  # noqa: BLE001 (the child must not go on as its parent)
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _answer(base: Path, request: dict[str, Any]) -> dict[str, Any]:
    child = os.fork()
    if child == 0:
        _child(base, request)
    death = request["death"]
    if death and death["at"] == "seconds":
        while death["signal"] != signal.SIGKILL and not (has_ended(child) or heeds(child, death["signal"])):
            time.sleep(0.005)
        time.sleep(death["number"])
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, death["signal"])
    _, status = os.waitpid(child, 0)
    return {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, "code": os.waitstatus_to_exitcode(status)}


def _serve(base: Path) -> None:
    import torch

    import kubetuner.cli.verbs
    import kubetuner.embed.core.run
    import kubetuner.evaluate.core.outputs
    import kubetuner.evaluate.core.run
    import kubetuner.ingest.core.run
    import kubetuner.storage.minio
    import kubetuner.train.core.run  # noqa: F401 (children find them imported)

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # a child that collects garbage need not look at what was imported
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(base, json.loads(line))), flush=True)


@dataclass
class Runs:
    """The server, from outside; use as a context."""

    base: Path
    """Folder of run.yaml, its model and its pictures."""
    environment: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        settings = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", _SERVER, str(self.base)],
            env=os.environ | settings | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._pipe(self._process.stdout).readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._pipe(self._process.stdin).close()
        self._process.wait()
        self._pipe(self._process.stdout).close()

    def run(self, store: str, out: Path, death: Death | None = None) -> dict[str, Any]:
        """One run, to its end or its death."""
        assert self._process is not None
        request = {"store": store, "out": str(out), "death": asdict(death) if death else None}
        pipe = self._pipe(self._process.stdin)
        pipe.write(json.dumps(request) + "\n")
        pipe.flush()
        answer: dict[str, Any] = json.loads(self._pipe(self._process.stdout).readline())
        return answer

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
