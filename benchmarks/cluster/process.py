"""A controller as a process of its own, and what can be read of it from outside: memory, processor time, calls, log lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from tests.ports import free_port

_ROOT: Final = Path(__file__).parents[2]


@dataclass
class Controller:
    """One controller process."""

    folder: Path
    kubeconfig: Path
    name: str
    namespace: str
    store: str
    lease_seconds: float = 15.0
    process: subprocess.Popen[bytes] = field(init=False)
    port: int = field(init=False)

    def __post_init__(self) -> None:
        self.port = free_port()
        settings = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(_ROOT / "services"), str(self._hidden())]),
            "KUBETUNER_NAMESPACE": self.namespace,
            "KUBETUNER_IDENTITY": self.name,
            "KUBETUNER_KUBECONFIG": str(self.kubeconfig),
            "KUBETUNER_STORE": self.store,
            "KUBETUNER_IMAGES_INGEST": "ingest:bench",
            "KUBETUNER_IMAGES_STAGE": "stage:bench",
            "KUBETUNER_LEASE_SECONDS": str(self.lease_seconds),
            "KUBETUNER_LEASE_RENEW_SECONDS": str(self.lease_seconds * 2 / 3),
            "KUBETUNER_HEALTH_LISTEN": f"127.0.0.1:{self.port}",
            "KUBETUNER_METRICS_LISTEN": f"127.0.0.1:{self.port}",
        }
        self.log = self.folder / f"{self.name}.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "kubetuner.controller"], env=settings, stdout=out, stderr=out)

    def _hidden(self) -> Path:
        """A folder with what hides packages that the controller's image has not, and that would be loaded where they are there."""
        folder = self.folder / "hidden"
        folder.mkdir(exist_ok=True)
        (folder / "rich.py").write_text("raise ImportError\n")
        return folder

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Log lines of an event."""
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in found if line.get("event") == event]

    def until(self, event: str, seconds: float = 60.0) -> dict[str, Any]:
        """Wait for a log line."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if found := self.lines(event):
                return found[-1]
            assert self.process.poll() is None, f"the controller has ended:\n{self.log.read_text()[-2000:]}"
            time.sleep(0.005)
        raise TimeoutError(f"{event} was not logged within {seconds:g} s:\n{self.log.read_text()[-2000:]}")

    def memory(self, peak: bool = False) -> float:
        """Resident memory in MB (its peak so far)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmHWM" if peak else "VmRSS")).split()[1]) / 1000

    def processor_seconds(self) -> float:
        """Processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def calls(self) -> Counter[str]:
        """Calls of the API server so far, by verb and resource."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
        found: Counter[str] = Counter()
        for line in text.splitlines():
            if line.startswith("kubetuner_api_calls_total{"):
                labels, _, value = line.rpartition(" ")
                found[labels.removeprefix("kubetuner_api_calls_total")] += int(float(value))
        return found

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(120)
