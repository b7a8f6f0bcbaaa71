"""The API server by plain HTTP, for the harness's own programs: no client library between them and what the server says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import urllib3

_SECONDS: Final = 5.0
APPLY: Final = "application/apply-patch+yaml"
STRATEGIC: Final = "application/strategic-merge-patch+json"


class ApiFault(Exception):
    """The server said no (`status` is HTTP's), or did not answer (0)."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"{status}: {words}")
        self.status = status


class Api:
    """The API server of a kubeconfig that ControlPlane wrote."""

    def __init__(self, kubeconfig: Path) -> None:
        access = json.loads(kubeconfig.read_text())
        self.cluster: dict[str, Any] = access["clusters"][0]["cluster"]
        authority = kubeconfig.parent / "pki" / "ca.crt"
        token = access["users"][0]["user"]["token"]
        self._pool = urllib3.PoolManager(ca_certs=str(authority), headers={"Authorization": f"Bearer {token}"})

    def call(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> dict[str, Any]:
        """What the server answers. Raises ApiFault."""
        headers = {**self._pool.headers, "Content-Type": content}
        try:
            data = None if body is None else json.dumps(body)
            answer = self._pool.request(method, self.cluster["server"] + path, body=data, headers=headers, timeout=_SECONDS, retries=False)
            found: dict[str, Any] = answer.json()
        except (urllib3.exceptions.HTTPError, ValueError) as fault:
            raise ApiFault(0, f"{method} {path}: {fault}") from fault
        if answer.status >= 300:
            raise ApiFault(answer.status, f"{method} {path}: {found.get('message', '')}")
        return found

    def items(self, path: str) -> list[dict[str, Any]]:
        """A list's items, as the server last saw them. Raises ApiFault."""
        found: list[dict[str, Any]] = self.call("GET", path)["items"]
        return found


def kubeconfig(cluster: dict[str, Any], token: str) -> dict[str, Any]:
    """Access to a cluster (`server`, `certificate-authority-data`) by a token."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kubetuner", "cluster": cluster}],
        "users": [{"name": "kubetuner", "user": {"token": token}}],
        "contexts": [{"name": "kubetuner", "context": {"cluster": "kubetuner", "user": "kubetuner"}}],
        "current-context": "kubetuner",
    }
