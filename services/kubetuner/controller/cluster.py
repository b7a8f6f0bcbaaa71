"""The real API server: the only file that imports `kubernetes`.

Of that package it uses the configuration (in a pod, or a kubeconfig), tokens that are renewed, TLS and its transport. Objects stay dicts,
so that nothing is lost or refused which this version of the package does not know. A watch asks for bookmarks and never waits longer than
one takes, so a connection that died in silence is noticed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson

from kubetuner.controller.api import ApiError, Change, Json, Kind, Page
from kubetuner.controller.metrics import Metrics

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

_SILENCE: Final = 80.0  # bookmarks come about once a minute
_CALL: Final = aiohttp.ClientTimeout(total=30, connect=10)
_LIST: Final = aiohttp.ClientTimeout(total=120, connect=10)
_MERGE: Final = "application/merge-patch+json"
_AS_IS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}  # packing and unpacking costs both sides more than the way
_METHODS: Final = {"list": "GET", "watch": "GET", "get": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}


class KubernetesCluster:
    """Cluster over HTTP."""

    def __init__(self, client: ApiClient, metrics: Metrics | None = None) -> None:
        self._client = client
        self._metrics = metrics

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()

    async def list(self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int = 500, rest: str = "") -> Page:
        query = {"limit": str(limit), "labelSelector": labels, "fieldSelector": fields, "continue": rest}
        found = await self._call("list", kind, kind.path(namespace), query=query, timeout=_LIST)
        for one in found["items"]:
            one.setdefault("apiVersion", kind.group_version)
            one.setdefault("kind", kind.name)
        meta = found["metadata"]
        return Page(items=found["items"], version=meta["resourceVersion"], rest=meta.get("continue", ""))

    async def watch(self, kind: Kind, namespace: str, *, labels: str = "", version: str, seconds: float) -> AsyncIterator[Change]:
        query = {"watch": "1", "allowWatchBookmarks": "true", "labelSelector": labels, "resourceVersion": version}
        query["timeoutSeconds"] = str(max(1, int(seconds)))
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE)
        async with self._request("watch", kind, kind.path(namespace), query=query, timeout=timeout) as response:
            while line := await _line(response):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise _refused(int(event["object"].get("code", 500)), event["object"])
                yield Change(type=event["type"], object=event["object"])

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        return await self._call("get", kind, kind.path(namespace, name))

    async def create(self, kind: Kind, namespace: str, body: Json, *, dry_run: bool = False) -> Json:
        return await self._call("create", kind, kind.path(namespace), body=body, query={"dryRun": "All" if dry_run else ""})

    async def patch(self, kind: Kind, namespace: str, name: str, body: Json, *, sub: str = "") -> Json:
        return await self._call("patch", kind, kind.path(namespace, name, sub), body=body, content=_MERGE)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", foreground: bool = False) -> None:
        body: Json = {"propagationPolicy": "Foreground" if foreground else "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._call("delete", kind, kind.path(namespace, name), body=body)
        except ApiError as error:
            if error.status != 404 and not (error.status == 409 and uid):  # with another uid it is another object
                raise

    async def _call(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        timeout: aiohttp.ClientTimeout = _CALL,
    ) -> Json:
        async with self._request(verb, kind, path, body=body, query=query, content=content, timeout=timeout) as response:
            try:
                found: Json = orjson.loads(await response.read())
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _unreachable(error) from error
            return found

    @asynccontextmanager
    async def _request(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        given = urlencode({name: value for name, value in (query or {}).items() if value})
        headers = {**_AS_IS, "Content-Type": content}
        started, code, method = time.monotonic(), "<error>", _METHODS[verb]
        _, url, headers, _, _ = await self._client.param_serialize(method, path, header_params=headers, auth_settings=["BearerToken"])
        url += f"?{given}" if given else ""
        try:
            answer = await self._client.rest_client.request(method, url, headers=headers, body=body, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            code = str(response.status)
            async with response:
                if response.status >= 400:
                    raise _refused(response.status, _status(await response.read()), response.headers.get("Retry-After", ""))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from error
        finally:
            if self._metrics is not None:
                self._metrics.call(verb, kind.plural, method, code, time.monotonic() - started)


async def connect(kubeconfig: str = "", *, pool: int = 100, metrics: Metrics | None = None) -> KubernetesCluster:
    """The cluster of a kubeconfig, or with an empty path the one that this pod runs in."""
    _spare("kubernetes", "aio")
    from kubernetes.aio.client import ApiClient, Configuration
    from kubernetes.aio.config import load_incluster_config, load_kube_config

    configuration = Configuration()
    if kubeconfig:
        await load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    else:
        load_incluster_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = pool
    configuration.client_session_kwargs = {"trust_env": False}  # else each call reads the proxies of the environment anew, in a thread
    client = ApiClient(configuration)
    client.user_agent = "kubetuner-controller"
    return KubernetesCluster(client, metrics)


def _spare(package: str, part: str) -> None:
    """Let a part of a package be imported without what both import at their start: of `kubernetes`, the half that waits in threads, with
    requests, OAuth and WebSockets, and in `aio` informers and elections, which are 9 MB and 0.2 s for nothing."""
    above = None
    for name in (package, f"{package}.{part}"):
        found = sys.modules.get(name)
        if found is None:
            spec = find_spec(name)
            assert spec is not None, "a package that is installed"
            found = sys.modules[name] = module_from_spec(spec)
        if above is not None:
            setattr(above, part, found)
        above = found


async def _line(response: aiohttp.ClientResponse) -> bytes:
    """A line of any length; empty at the end, and where the connection broke within a line."""
    parts: list[bytes] = []
    while True:
        try:
            parts.append(await response.content.readline())
        except ValueError:  # longer than the buffer
            parts.append(await response.content.read(1 << 20))
            continue
        if not parts[-1]:
            return b""
        if parts[-1].endswith(b"\n"):
            return b"".join(parts)


def _status(data: bytes) -> Json:
    try:
        found: Any = orjson.loads(data)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": data[:500].decode("utf-8", "replace")}


def _refused(code: int, status: Json, retry_after: str = "") -> ApiError:
    details = dict(status.get("details") or {})
    if retry_after.isdigit():
        details.setdefault("retryAfterSeconds", int(retry_after))
    return ApiError(code, str(status.get("reason") or code), str(status.get("message") or "no message"), details)


def _unreachable(error: BaseException) -> ApiError:
    return ApiError(0, "Unreachable", f"{type(error).__name__}: {error}")
