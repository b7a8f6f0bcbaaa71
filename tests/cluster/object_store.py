"""A MinIO of the cluster: a process of the host, so that it can be stopped without a pod being moved; on the bridge behind a Service."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3

from kubetuner.storage.minio import MinioStore
from tests.cluster import binaries, network
from tests.cluster.control_plane import ControlPlane
from tests.cluster.processes import Daemon
from tests.ports import free_port

NAMESPACE: Final = "minio"
BUCKET: Final = "kubetuner"
_PORT: Final = 9000
_SECONDS_TO_START: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """MinIO on the bridge; pods call it `http://minio.minio:9000`. Or at another address of the host's, where Services have none."""

    folder: Path
    plane: ControlPlane
    host: str = network.HOST

    @property
    def endpoint(self) -> str:
        """Its address, from the host and from pods."""
        return f"http://{self.host}:{self._port}"

    @property
    def service(self) -> str:
        """Its address as pods are told it."""
        return f"http://minio.{NAMESPACE}:{_PORT}" if self._on_bridge else self.endpoint

    @property
    def _on_bridge(self) -> bool:
        return self.host == network.HOST

    @property
    def _port(self) -> int:
        """Off the bridge a free one, chosen once for the folder's life."""
        if self._on_bridge:
            return _PORT
        file = self.folder / "port"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(free_port(self.host)))
        return int(file.read_text())

    @property
    def environment(self) -> dict[str, str]:
        """What tells a program on the host of it."""
        access, secret = self._keys()
        keys = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1", **keys}

    @property
    def server(self) -> Daemon:
        return Daemon(folder=self.folder, name="minio")

    def up(self) -> None:
        """Start it where it does not run, with its Service and a bucket."""
        self.start()
        if self._on_bridge:
            self.plane.kubectl.apply(*_objects())
        client = self.store().client
        if not client.bucket_exists(BUCKET):
            client.make_bucket(BUCKET)

    def down(self) -> None:
        """End it; what it holds stays in the folder."""
        self.server.stop()

    def start(self) -> None:
        """Start the server alone, and wait until it answers."""
        access, secret = self._keys()
        settings = {
            "MINIO_ROOT_USER": access,
            "MINIO_ROOT_PASSWORD": secret,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_CI_CD": "on",
        }
        address = ["--address", f"{self.host}:{self._port}", "--console-address", "127.0.0.1:0"]
        self.server.start([binaries.path("minio"), "server", "--quiet", *address, self.folder / "data"], settings)
        self.server.resume()  # where a test was cut off that held it
        self.server.until(self._answers, _SECONDS_TO_START)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nothing listens at its address."""
        self.server.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def held(self) -> Iterator[None]:
        """It stands still: whoever asks it waits, so nothing that needs it can end."""
        self.server.pause()
        try:
            yield
        finally:
            self.server.resume()

    def store(self, prefix: str = "") -> MinioStore:
        """A store in its bucket, for programs on the host."""
        return MinioStore.from_uri(f"s3://{BUCKET}/{prefix}", path="--store", environment=self.environment)

    def secret(self, name: str) -> dict[str, Any]:
        """A Secret with its keys, as the chart's `objectStore.auth.existingSecret` wants it."""
        access, secret = self._keys()
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"accessKey": access, "secretKey": secret}}

    def _keys(self) -> tuple[str, str]:
        file = self.folder / "keys"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{secrets.token_hex(8)} {secrets.token_hex(16)}")
            file.chmod(0o600)
        access, secret = file.read_text().split()
        return access, secret

    def _answers(self) -> bool:
        try:
            return urllib3.request("GET", f"{self.endpoint}/minio/health/cluster", retries=False, timeout=2.0).status == 200
        except urllib3.exceptions.HTTPError:
            return False


def _objects() -> list[dict[str, Any]]:
    """A Service without pods, whose one address is the host's."""
    where = {"name": "minio", "namespace": NAMESPACE}
    port = {"name": "s3", "port": _PORT, "protocol": "TCP"}
    slice_of = {**where, "labels": {"kubernetes.io/service-name": "minio"}}
    endpoint = {"addresses": [network.HOST], "conditions": {"ready": True}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": {"ports": [port]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": slice_of,
            "addressType": "IPv4",
            "endpoints": [endpoint],
            "ports": [port],
        },
    ]
