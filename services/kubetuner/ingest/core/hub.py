"""A model on the Hugging Face Hub, or on a mirror that speaks as it does, by its plain HTTP: no package of theirs, no torch.

HF_ENDPOINT      address of the Hub or its mirror (default https://huggingface.co); HTTPS_PROXY and NO_PROXY are obeyed
HF_TOKEN         for private repositories and those behind a form; on a cluster it comes from the Secret that spec.model.secret names
GET /api/models/<id>/revision/<revision>?blobs=true    the commit, and every file with its size and, where it is large, its SHA-256
GET /<id>/resolve/<commit>/<path>                      the file, in ranges
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import urllib3

from kubetuner.errors import DataError, KubeTunerError, SpecError

ENDPOINT: Final = "https://huggingface.co"
_TRIES: Final = 6
_FIRST_PAUSE: Final = 0.5
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository."""

    path: str
    size: int
    sha256: str | None
    """None for small files, which the Hub knows by another hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository at one commit."""

    hub_id: str
    commit: str
    files: tuple[HubFile, ...]


@dataclass(kw_only=True)
class Hub:
    """The Hub. Threads may share it."""

    endpoint: str
    token: str = field(repr=False, default="")
    path: str = "spec.model.path"
    """Field that named the repository, for errors."""
    first_pause_seconds: float = _FIRST_PAUSE
    _http: urllib3.PoolManager | None = field(default=None, repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ, *, path: str = "spec.model.path") -> Hub:
        """The Hub that the environment tells of."""
        endpoint = (environment.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
            raise SpecError(path, f"HF_ENDPOINT {endpoint!r} is no address of a Hub; give https://host")
        return cls(endpoint=endpoint, token=environment.get("HF_TOKEN", ""), path=path)

    def look(self, hub_id: str, revision: str) -> Repository:
        """The repository at a branch, tag or commit. Raises SpecError where there is none for this token."""
        name = revision or "main"
        answer = self._ask(f"/api/models/{quote(hub_id)}/revision/{quote(name, safe='')}?blobs=true", what=f"{hub_id} at {name}")
        try:
            document = json.loads(answer.data)
            files = tuple(_file(row) for row in document["siblings"])
            return Repository(hub_id=hub_id, commit=str(document["sha"]), files=files)
        except (ValueError, LookupError, TypeError) as error:
            raise KubeTunerError(
                f"{self.endpoint}: what it says of {hub_id} is not what the Hub says ({error}); correct HF_ENDPOINT"
            ) from error

    def read(self, repository: Repository, path: str, start: int, length: int) -> bytes:
        """`length` bytes of a file from `start`."""
        if length == 0:
            return b""
        headers = {"Range": f"bytes={start}-{start + length - 1}"}
        address = f"/{quote(repository.hub_id)}/resolve/{repository.commit}/{quote(path)}"
        for _ in range(_TRIES):
            answer = self._ask(address, headers, what=f"{path} of {repository.hub_id}")
            data = bytes(answer.data)
            if answer.status == 200:  # a mirror that knows no ranges
                data = data[start : start + length]
            if len(data) == length:
                return data
        raise DataError(f"model {repository.hub_id}: {path} is shorter than the Hub says; name another revision")

    def _ask(self, address: str, headers: Mapping[str, str] | None = None, *, what: str) -> urllib3.BaseHTTPResponse:
        """The answer; asked again while the server is busy or away. The token does not follow to another host."""
        given = {"User-Agent": "kubetuner", **(headers or {}), **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        pause, reason = self.first_pause_seconds, ""
        for left in reversed(range(_TRIES)):
            try:
                answer = self._pool().request("GET", self.endpoint + address, headers=given, retries=_redirects())
            except urllib3.exceptions.HTTPError as error:
                reason = str(error).rpartition(">: ")[2][:160] or type(error).__name__
            else:
                if answer.status in (200, 206):
                    return answer
                if answer.status not in _PASSING:
                    raise self._refusal(answer.status, what)
                reason = f"status {answer.status}"
            if left:
                time.sleep(pause)
                pause = min(pause * 2, 8.0)
        raise HubAway(f"{self.endpoint} does not answer ({reason}); check the network, or set HF_ENDPOINT to a mirror, and run again")

    def _refusal(self, status: int, what: str) -> KubeTunerError:
        if status in _REFUSED:
            given = "this token" if self.token else "anybody; set HF_TOKEN, or spec.model.secret on a cluster"
            return SpecError(self.path, f"{what} is not there for {given}; accept its licence on the Hub, or correct the token")
        if status == 404:
            return SpecError(self.path, f"{what} is not on {self.endpoint}; correct the id or the revision")
        return KubeTunerError(f"{self.endpoint}: status {status} for {what}; run again")

    def _pool(self) -> urllib3.PoolManager:
        if self._http is None:
            address = urlsplit(self.endpoint)
            proxy = urllib.request.getproxies().get(address.scheme)
            options: dict[str, Any] = {"timeout": urllib3.Timeout(connect=10, read=60), "maxsize": 16}
            direct = not proxy or urllib.request.proxy_bypass(address.hostname or "")
            self._http = urllib3.PoolManager(**options) if direct or not proxy else urllib3.ProxyManager(proxy, **options)
        return self._http


class HubAway(KubeTunerError):
    """The Hub does not answer."""


def _redirects() -> urllib3.Retry:
    return urllib3.Retry(total=5, connect=0, read=0, status=0, redirect=5, raise_on_status=False)


def _file(row: Mapping[str, Any]) -> HubFile:
    large = row.get("lfs") or {}
    sha256 = large.get("sha256") or large.get("oid")
    return HubFile(path=str(row["rfilename"]), size=int(large.get("size") or row.get("size") or 0), sha256=sha256)
