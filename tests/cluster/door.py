"""RunService as a client outside the cluster reaches it: its address, the authority of its certificate, accounts with tokens."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.cluster import binaries, certificates
from tests.cluster.control_plane import ISSUER
from tests.cluster.kubectl import until, until_heard
from tests.cluster.release import SYSTEM, TEAM, Release

_ROOT: Final = Path(__file__).parents[2]
_SERVICE: Final = "kubetuner.v1alpha1.RunService"
_PATIENCE: Final = 120
"""Seconds that only a hang takes."""
_NOT_HEARD: Final = ("connection refused", "no route to host", "Code: Unavailable")
"""What others' clients say while the controller begins anew, as it does when it stood still for longer than its Lease lasts. Ours waits."""
_VERBS: Final = "create,get,list,watch,update,delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where RunService answers, and who vouches for it."""

    release: Release
    address: str
    authority: Path

    name: str = f"kubetuner.{SYSTEM}"
    """What its certificate is made out to."""

    @classmethod
    def of(cls, release: Release, folder: Path) -> Self:
        """That of an installed chart; the authority's certificate is written into the folder."""
        service = release.cluster.kubectl.get("service", "kubetuner", SYSTEM)
        secret = release.cluster.kubectl.get("secret", "kubetuner-tls", SYSTEM)
        assert service is not None
        assert secret is not None
        authority = folder / "ca.crt"
        authority.write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
        address = f"{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"
        return cls(release=release, address=address, authority=authority)

    def admit(self, account: str) -> None:
        """Make an account that may do everything with the team's runs; again is no harm."""
        api = "rbac.authorization.k8s.io"
        rule = {"apiGroups": ["kubetuner.dev"], "resources": ["trainingruns"], "verbs": _VERBS.split(",")}
        who = [{"kind": "ServiceAccount", "name": account, "namespace": TEAM}]
        role = {"apiGroup": api, "kind": "Role", "name": account}
        self.release.cluster.kubectl.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}},
            {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": account}, "rules": [rule]},
            {"apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": {"name": account}, "roleRef": role, "subjects": who},
            namespace=TEAM,
        )
        asked = ["auth", "can-i", "create", "trainingruns.kubetuner.dev", f"--as=system:serviceaccount:{TEAM}:{account}"]
        kubectl = self.release.cluster.kubectl
        until(lambda: kubectl.run("--namespace", TEAM, *asked, check=False).stdout.strip() == "yes", f"the rights of {account} in force")

    def until_refused(self, token: str) -> None:
        """Wait until the API server itself takes a token for nobody's: it keeps its own answers for some seconds."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": ["kubetuner"]}}
        ask = ["create", "-f", "-", "-o", "jsonpath={.status.authenticated}"]
        kubectl = self.release.cluster.kubectl
        until(lambda: kubectl.run(*ask, stdin=json.dumps(review)).stdout != "true", "the token refused by the API server")

    def token(self, account: str, audience: str = "kubetuner") -> str:
        """A token of an account of the team."""
        return self.release.cluster.kubectl("--namespace", TEAM, "create", "token", account, f"--audience={audience}")

    def brief_token(self, account: str, seconds: int) -> str:
        """One that ends sooner than any that the API server gives out: ten minutes is the least there."""
        plane = self.release.cluster.plane
        found = plane.kubectl.get("serviceaccount", account, TEAM)
        assert found is not None
        now = int(time.time())
        who = {"namespace": TEAM, "serviceaccount": {"name": account, "uid": found["metadata"]["uid"]}}
        times = {"iat": now, "nbf": now, "exp": now + seconds}
        names = {"iss": ISSUER, "aud": ["kubetuner"], "sub": f"system:serviceaccount:{TEAM}:{account}"}
        return certificates.token(plane.ca.parent, {**names, **times, "kubernetes.io": who})

    def grpcurl(self, method: str, token: str, **request: Any) -> subprocess.CompletedProcess[str]:
        """A call by grpcurl."""
        given = ["-cacert", self.authority, "-authority", self.name, "-import-path", _ROOT / "proto"]
        given += ["-connect-timeout", _PATIENCE, "-max-time", _PATIENCE]
        given += ["-proto", "kubetuner/v1alpha1/run_service.proto", "-H", f"authorization: Bearer {token}", "-d", json.dumps(request)]
        return until_heard(lambda: _run(binaries.path("grpcurl"), *given, self.address, f"{_SERVICE}/{method}"), _NOT_HEARD)

    def probe(self) -> subprocess.CompletedProcess[str]:
        """What grpc-health-probe says."""
        tls = ["-tls", f"-tls-ca-cert={self.authority}", f"-tls-server-name={self.name}"]
        patience = [f"-connect-timeout={_PATIENCE}s", f"-rpc-timeout={_PATIENCE}s"]  # a second each, unless told
        return until_heard(lambda: _run(binaries.path("grpc-health-probe"), f"-addr={self.address}", *tls, *patience), _NOT_HEARD)

    def kubetuner(self, account: str, *arguments: str | Path) -> str:
        """What the command prints, as an account; it must end well."""
        settings = {
            "KUBETUNER_ADDRESS": self.address,
            "KUBETUNER_TOKEN": self.token(account),
            "KUBETUNER_CA": str(self.authority),
            "KUBETUNER_SERVER_NAME": self.name,
            "KUBETUNER_NAMESPACE": TEAM,
            "PYTHONPATH": str(_ROOT / "services"),
        }
        done = _run(sys.executable, "-m", "kubetuner.cli.main", *arguments, environment=settings)
        assert done.returncode == 0, f"{arguments}: {done.stderr[-3000:]}"
        return done.stdout


def _run(*command: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, **(environment or {})}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=settings, timeout=3600)
