"""A real MinIO server on loopback for tests: a free port, a folder and credentials of its own; it can be stopped, killed and started."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import urllib3

from kubetuner.storage.minio import MinioStore
from tests.ports import free_port

_SECONDS_TO_START = 300


@dataclass
class Server:
    """One server; use as a context."""

    binary: Path
    folder: Path
    port: int = 0
    access_key: str = field(default_factory=lambda: secrets.token_hex(8))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16))
    _process: subprocess.Popen[bytes] | None = None
    _buckets: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What tells a run of this server."""
        keys = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1", **keys}

    def __enter__(self) -> Self:
        self.port = self.port or free_port()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it on its folder and wait until it answers."""
        command = [
            self.binary,
            "server",
            "--quiet",
            "--address",
            f"127.0.0.1:{self.port}",
            "--console-address",
            "127.0.0.1:0",
            self.folder / "data",
        ]
        keys = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
        settings = {"HOME": str(self.folder), "MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "MINIO_CI_CD": "on", "GOMAXPROCS": "2"}
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, env=keys | settings, stdout=log, stderr=log)
        deadline = time.monotonic() + _SECONDS_TO_START
        while not self._is_up():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It answers nothing, and its connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # the signal is taken in time: until then a thread may still answer
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def bucket(self) -> str:
        """Name of a new, empty bucket."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        self.store(name).client.make_bucket(name)
        return name

    def store(self, bucket: str | None = None, prefix: str = "") -> MinioStore:
        """A store in a bucket, in a new one where none is named."""
        bucket = bucket or self.bucket()
        return MinioStore.from_uri(f"s3://{bucket}/{prefix}", path="--store", environment=self.environment)

    def _is_up(self) -> bool:
        try:
            answer = urllib3.request("GET", f"{self.endpoint}/minio/health/cluster", retries=False, timeout=10.0)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200
