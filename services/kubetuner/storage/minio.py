"""A store in a bucket of MinIO or any S3; the only file that imports `minio`.

Endpoint and credentials come from the environment or the AWS files, never from a run:
KUBETUNER_S3_ENDPOINT or AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL (default: Amazon's), AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
(or MINIO_*), AWS_REGION, ~/.aws/credentials.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio, S3Error
from minio.credentials import AWSConfigProvider, ChainedProvider, EnvAWSProvider, EnvMinioProvider
from minio.error import InvalidResponseError, ServerError

from kubetuner.errors import ArtifactError, KubeTunerError, SpecError
from kubetuner.storage.store import ObjectInfo

_WHOLE: Final = 64 * 1024 * 1024
"""Objects up to this size are put in one conditional request; larger ones in parts."""
_PATIENCE: Final = 180.0
"""Seconds that a server may be away before a call fails."""
_MISSING: Final = {"NoSuchKey", "NoSuchObject", "NoSuchBucket"}
_T = TypeVar("_T")


class MinioStore:
    """Objects below a prefix of a bucket. Every call is tried again while the server is away, for three minutes at most."""

    def __init__(self, client: Minio, http: urllib3.PoolManager, bucket: str, prefix: str = "") -> None:
        self._client, self._http, self._bucket = client, http, bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @classmethod
    def from_uri(cls, uri: str, *, path: str) -> Self:
        """The store at s3://bucket/prefix. Raises SpecError where the address or the environment is incomplete."""
        parts = urlsplit(uri)
        if len(parts.netloc) < 3:
            raise SpecError(path, f"{uri!r} names no bucket; give s3://bucket/prefix")
        endpoint = next((value for name in _ENDPOINTS if (value := os.environ.get(name))), "https://s3.amazonaws.com")
        address = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=60), maxsize=16, retries=False)
        client = Minio(
            address.netloc,
            secure=address.scheme != "http",
            region=os.environ.get("AWS_REGION") or None,
            credentials=ChainedProvider([EnvAWSProvider(), EnvMinioProvider(), AWSConfigProvider()]),
            http_client=http,
        )
        return cls(client, http, parts.netloc, parts.path)

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put(self, key: str, data: bytes | Path, *, replace: bool = False) -> bool:
        if not replace and self.head(key) is not None:
            return False
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        if size > _WHOLE:
            return self._put_in_parts(key, data)
        content = data.read_bytes() if isinstance(data, Path) else data
        return self._again(key, lambda: self._put_whole(key, content, replace=replace))

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            return b""
        content = self._again(key, lambda: self._read(key, start, length or 0))
        if length is not None and len(content) != length:
            raise ArtifactError(
                f"{self.uri}/{key}: {start + len(content)} bytes long, {start + length} were expected; delete it and run again"
            )
        return content

    def head(self, key: str) -> int | None:
        def stat() -> int | None:
            try:
                return self._client.stat_object(self._bucket, self._prefix + key).size
            except S3Error as error:
                if error.code == "NoSuchBucket":
                    raise
                if error.code in _MISSING:
                    return None
                raise

        return self._again(key, stat)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        def page() -> list[ObjectInfo]:
            found = self._client.list_objects(self._bucket, prefix=self._prefix + prefix, recursive=True)
            return [ObjectInfo(key=row.object_name.removeprefix(self._prefix), size=row.size or 0) for row in found if not row.is_dir]

        yield from sorted(self._again(prefix, page), key=lambda info: info.key)

    def delete(self, key: str) -> None:
        self._again(key, lambda: self._client.remove_object(self._bucket, self._prefix + key))

    def _put_whole(self, key: str, content: bytes, *, replace: bool) -> bool:
        """One request, refused by the server where the object is there. The client's own put has no such condition."""
        url = self._client.get_presigned_url("PUT", self._bucket, self._prefix + key, expires=timedelta(minutes=10))
        headers = {} if replace else {"If-None-Match": "*"}
        response = self._http.request("PUT", url, body=content, headers=headers)
        if response.status in (409, 412):  # somebody else was first
            return False
        if response.status >= 500:
            raise ServerError(f"status {response.status}", response.status)
        if response.status != 200:
            raise KubeTunerError(
                f"{self.uri}/{key}: cannot be written ({response.status}: {response.data[:200].decode('utf-8', 'replace')})"
            )
        return True

    def _put_in_parts(self, key: str, data: bytes | Path) -> bool:
        if isinstance(data, Path):
            self._again(key, lambda: self._client.fput_object(self._bucket, self._prefix + key, str(data)))
        else:
            self._again(key, lambda: self._client.put_object(self._bucket, self._prefix + key, io.BytesIO(data), len(data)))
        return True

    def _read(self, key: str, start: int, length: int) -> bytes:
        response = self._client.get_object(self._bucket, self._prefix + key, offset=start, length=length)
        try:
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()

    def _again(self, key: str, call: Callable[[], _T]) -> _T:
        """The call's answer; while the server is away it is asked again, ever more seldom."""
        deadline = time.monotonic() + _PATIENCE
        pause = 0.2
        while True:
            try:
                return call()
            except S3Error as error:
                if error.code in _MISSING:
                    raise ArtifactError(f"{self.uri}/{key}: no such object ({error.code})") from error
                if error.code not in _AWAY:
                    raise KubeTunerError(
                        f"{self.uri}/{key}: {error.code}: {error.message}; check the bucket and the credentials"
                    ) from error
                reason: Exception = error
            except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError, OSError) as error:
                reason = error
            if time.monotonic() + pause > deadline:
                raise KubeTunerError(f"{self.uri}: the object store does not answer ({reason}); start it and run again") from reason
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


_ENDPOINTS: Final = ("KUBETUNER_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_AWAY: Final = {
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "ServiceUnavailable",
    "InternalError",
    "XMinioServerNotInitialized",
    "RequestTimeout",
}
