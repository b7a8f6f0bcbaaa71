"""A store in a bucket of MinIO or any S3; the only file that imports `minio`.

Every call is tried again while the server is away. Objects are written in one request, or in parts where they are large; either way the
server itself refuses the write where the object is there and is not to be replaced. `access.py` tells where the server is.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from xml.etree import ElementTree

import urllib3
from minio import Minio, S3Error
from minio.error import InvalidResponseError, MinioException, ServerError

from kubetuner.errors import ArtifactError, KubeTunerError, SpecError
from kubetuner.storage.access import Access, find
from kubetuner.storage.store import Content, ObjectInfo, begins_keys, check_key, silent

_WHOLE: Final = 64 * 1024 * 1024
"""Objects up to this size are put in one request, larger ones in parts."""
_PART: Final = 16 * 1024 * 1024
"""S3 takes 10,000 parts, so an object may be 160 GB."""
_PARTS_AT_ONCE: Final = 3
_WORTH_A_LOOK: Final = 1024 * 1024
"""From this size on it pays to ask whether the object is there before it is sent."""
_PATIENCE: Final = 180.0
"""Seconds that a server which has answered before may be away."""
_FIRST_PATIENCE: Final = 15.0
"""Seconds that a server may be away which has never answered: its address may be wrong, and somebody waits."""
_SECONDS_UNTIL_TOLD: Final = 1.0
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PAGE: Final = 1000
_CONNECTIONS: Final = 16
_EXPIRES: Final = timedelta(hours=1)
_NONE: Final[Mapping[str, str]] = {}
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion", "XMinioInvalidObjectName"})
_THERE: Final = frozenset({"PreconditionFailed", "NoSuchUpload"})
"""What a write is answered with where the object is there; the second where the answer to a finished upload was lost."""
_AGAIN: Final = frozenset({"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "XMinioServerNotInitialized"})
_REFUSED: Final = frozenset(
    {"AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "InvalidTokenId"}
    | {"RequestTimeTooSkewed", "SignatureDoesNotMatch", "XMinioAdminUserDisabled"}
)
_LASTING: Final = frozenset({"NotImplemented", "XMinioStorageFull"})
_FAILURES: Final = (urllib3.exceptions.HTTPError, MinioException, OSError, ElementTree.ParseError)
_T = TypeVar("_T")


@dataclass(kw_only=True)
class MinioStore:
    """Objects below a prefix of a bucket. Threads may share it; connections are kept and used again."""

    client: Minio
    http: urllib3.PoolManager
    endpoint: str
    """Address of the server, for messages."""
    bucket: str
    prefix: str = ""
    """Empty, or with a slash at its end."""
    path: str = "--store"
    """Field or option that named the store, for errors."""
    note: Callable[[str], None] = silent
    """Told when the server is away, and when it is back."""
    patience_seconds: float = _PATIENCE
    _answered: bool = field(default=False, init=False)
    _away: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def from_uri(cls, uri: str, *, path: str, environment: Mapping[str, str] = os.environ, note: Callable[[str], None] = silent) -> Self:
        """The store at s3://bucket/prefix. Raises SpecError where the address or the environment is incomplete."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise SpecError(path, f"{uri!r} names no bucket; give s3://bucket/prefix (3 to 63 of a-z, 0-9, . and -)")
        prefix = prefix.strip("/")
        if prefix:
            try:
                check_key(prefix)
            except ArtifactError as error:
                raise SpecError(path, f"{uri!r}: {error}") from error
        access = find(environment, path=path)
        return cls(**_connect(access), endpoint=access.endpoint, bucket=bucket, prefix=f"{prefix}/" if prefix else "", path=path, note=note)

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        name = self._name(key)
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        if not replace and size > _WORTH_A_LOOK and self.head(key) is not None:
            return False
        if size > _WHOLE:
            return self._put_in_parts(key, name, data, size, replace=replace)
        content = data.read_bytes() if isinstance(data, Path) else bytes(data[:])
        return self._write(key, name, _md5(content).hexdigest(), lambda: self._send("PUT", name, content, headers=_condition(replace)))

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        name = self._name(key)
        if length == 0 or (length is None and start > 0):  # requests that no Range header can say
            size = self._size(key)
            if start + (length or 0) > size:
                raise self._too_short(key, size, start + (length or 0))
            length = 0 if length == 0 else size - start
            if length == 0:
                return b""
        content = self._again(key, lambda: self._read(name, start, length or 0))
        if length is not None and len(content) != length:
            raise self._too_short(key, self._size(key), start + length)
        return content

    def head(self, key: str) -> int | None:
        name = self._name(key)

        def stat() -> int | None:
            try:
                return self.client.stat_object(self.bucket, name).size
            except S3Error as error:
                if error.code in _MISSING:
                    return None
                raise

        return self._again(key, stat)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        last: str | None = None
        while begins_keys(prefix):  # page by page, so that a server that goes away in the middle costs a page
            page = self._again(prefix, partial(self._page, self.prefix + prefix, last))
            for row in page:
                last = row.object_name
                if not row.is_dir:
                    modified = row.last_modified.timestamp() if row.last_modified else 0.0
                    yield ObjectInfo(key=last.removeprefix(self.prefix), size=row.size or 0, modified=modified)
            if len(page) < _PAGE:
                return

    def delete(self, key: str) -> None:
        name = self._name(key)
        self._again(key, lambda: self.client.remove_object(self.bucket, name))

    def _name(self, key: str) -> str:
        """Name of the object in the bucket. Raises ArtifactError where S3 can have none such."""
        check_key(key)
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise ArtifactError(f"{self.uri}: S3 can hold no key that is not UTF-8 ({key!r}); rename it") from error
        return self.prefix + key

    def _size(self, key: str) -> int:
        size = self.head(key)
        if size is None:
            raise ArtifactError(f"{self.uri}/{key}: no such object")
        return size

    def _too_short(self, key: str, size: int, expected: int) -> ArtifactError:
        return ArtifactError(f"{self.uri}/{key}: {size} bytes long, {expected} were expected; delete it and run again")

    def _page(self, prefix: str, after: str | None) -> Sequence[Any]:
        return list(islice(self.client.list_objects(self.bucket, prefix=prefix, recursive=True, start_after=after), _PAGE))

    def _read(self, name: str, start: int, length: int) -> bytes:
        """Bytes from `start`, all where `length` is 0; fewer where the object ends before."""
        try:
            response = self.client.get_object(self.bucket, name, offset=start, length=length)
        except S3Error as error:
            if error.code == "InvalidRange":
                return b""
            raise
        try:
            return bytes(response.read())
        finally:
            response.release_conn()

    def _put_in_parts(self, key: str, name: str, data: Content, size: int, *, replace: bool) -> bool:
        """Parts are tried again one by one; the object appears with the last request, whole."""
        begun = self._again(key, lambda: self._send("POST", name, query={"uploads": ""}))
        [upload] = [element.text for element in ElementTree.fromstring(begun.data).iter() if element.tag.endswith("UploadId")]

        def send(number: int) -> bytes:
            content = _part(data, (number - 1) * _PART)
            query = {"partNumber": str(number), "uploadId": upload}
            self._again(key, lambda: self._send("PUT", name, content, query=query))
            return _md5(content).digest()

        try:
            with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="upload") as threads:
                sums = list(threads.map(send, range(1, -(-size // _PART) + 1)))
            body = b"<CompleteMultipartUpload>%b</CompleteMultipartUpload>" % b"".join(
                b"<Part><PartNumber>%d</PartNumber><ETag>%b</ETag></Part>" % (number, part.hex().encode())
                for number, part in enumerate(sums, 1)
            )
            etag = f"{_md5(b''.join(sums)).hexdigest()}-{len(sums)}"
            finish = partial(self._send, "POST", name, body, query={"uploadId": upload}, headers=_condition(replace))
            written = self._write(key, name, etag, finish)
        except BaseException:
            self._abort(name, upload)
            raise
        if not written:
            self._abort(name, upload)
        return written

    def _abort(self, name: str, upload: str | None) -> None:
        with suppress(*_FAILURES):  # once: what stays is no object, and servers clear it away after a time
            self._send("DELETE", name, query={"uploadId": upload})

    def _write(self, key: str, name: str, etag: str, send: Callable[[], object]) -> bool:
        """Send what makes an object; False where it is there already.

        A write whose answer was lost is sent again and then refused, for it was done: the object's digest tells whether it is ours.
        """
        attempts = 0

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                send()
            except S3Error as error:
                if error.code not in _THERE or (error.code == "NoSuchUpload" and attempts == 1):
                    raise
                return attempts > 1 and self.client.stat_object(self.bucket, name).etag == etag
            return True

        return self._again(key, attempt)

    def _send(
        self, method: str, name: str, body: bytes = b"", *, query: dict[str, Any] | None = None, headers: Mapping[str, str] = _NONE
    ) -> urllib3.BaseHTTPResponse:
        """One signed request with a header that the client's own verbs do not know; raises as they do."""
        url = self.client.get_presigned_url(method, self.bucket, name, expires=_EXPIRES, extra_query_params=query)
        checked = {"Content-MD5": b64encode(_md5(body).digest()).decode(), **headers}
        response = self.http.request(method, url, body=body, headers=checked)
        is_error = response.status not in (200, 204) or b"<Error>" in response.data[:500]  # a finished upload may fail with status 200
        if is_error and b"<Error>" in response.data[:500]:
            raise S3Error.fromxml(response)
        if is_error:
            raise ServerError(f"status {response.status}", response.status)
        return response

    def _again(self, key: str, call: Callable[[], _T]) -> _T:
        """The call's answer; while the server is away it is asked again, ever more seldom. Raises in words for the user."""
        started = time.monotonic()
        pause = 0.1
        while True:
            try:
                answer = call()
            except _FAILURES as error:
                self._answered |= isinstance(error, S3Error)
                if not _may_pass(error):
                    raise self._in_words(key, error) from error
                waited = time.monotonic() - started
                patience = self.patience_seconds if self._answered else min(_FIRST_PATIENCE, self.patience_seconds)
                if waited + pause > patience:
                    raise KubeTunerError(
                        f"{self.uri}: the object server at {self.endpoint} does not answer ({_short(error)}); "
                        "start it, or correct AWS_ENDPOINT_URL, and run again"
                    ) from error
                if waited > _SECONDS_UNTIL_TOLD and self._tell(away=True):
                    self.note(f"{self.uri}: the object server does not answer ({_short(error)}); trying again for up to {patience:.0f} s")
                time.sleep(pause)
                pause = min(pause * 2, 3.0)
                continue
            self._answered = True
            if self._tell(away=False):
                self.note(f"{self.uri}: the object server answers again after {time.monotonic() - started:.0f} s")
            return answer

    def _tell(self, *, away: bool) -> bool:
        """Whether it is news that the server is away or back; threads meet the same outage."""
        with self._lock:
            news = away != self._away
            self._away = away
        return news

    def _in_words(self, key: str, error: Exception) -> KubeTunerError:
        if not isinstance(error, S3Error):
            if isinstance(error, urllib3.exceptions.SSLError):
                return SpecError(
                    self.path, f"{self.endpoint}: its certificate is not trusted ({_short(error)}); set AWS_CA_BUNDLE to its authority's"
                )
            return SpecError(self.path, f"{self.endpoint} is no object server ({_short(error)}); correct AWS_ENDPOINT_URL")
        if error.code in _MISSING:
            return ArtifactError(f"{self.uri}/{key}: no such object")
        if error.code == "NoSuchBucket":
            return SpecError(self.path, f"there is no bucket {self.bucket!r} at {self.endpoint}; create it, or name another")
        if error.code in _REFUSED:
            return SpecError(
                self.path,
                f"{self.endpoint} refuses these credentials for {self.uri} ({error.code}: {error.message}); correct AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or give them the right to list, read, write and delete there",
            )
        cure = "free space on the server" if error.code == "XMinioStorageFull" else "look into the server's log"
        return KubeTunerError(f"{self.uri}/{key}: {error.code}: {error.message}; {cure} and run again")


def _connect(access: Access) -> dict[str, Any]:
    """A client, and the connections that it shares with our own requests."""
    http = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=10, read=60), maxsize=_CONNECTIONS, retries=False, ca_certs=access.authority, num_pools=4
    )
    client = Minio(
        access.host,
        access_key=access.access_key,
        secret_key=access.secret_key,
        session_token=access.session_token,
        secure=access.secure,
        region=access.region,
        http_client=http,
    )
    if access.path_style is not None:
        (client.disable_virtual_style_endpoint if access.path_style else client.enable_virtual_style_endpoint)()
    return {"client": client, "http": http}


def _condition(replace: bool) -> dict[str, str]:
    return {} if replace else {"If-None-Match": "*"}


def _part(data: Content, start: int) -> bytes:
    if not isinstance(data, Path):
        return bytes(data[start : start + _PART])
    with open(data, "rb") as file:
        file.seek(start)
        return file.read(_PART)


def _md5(content: bytes) -> Any:
    return hashlib.md5(content, usedforsecurity=False)  # what S3 checks a transfer by


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, S3Error):
        return error.code in _AGAIN or (error.response is not None and error.response.status >= 500 and error.code not in _LASTING)
    if isinstance(error, InvalidResponseError):
        return True
    return not isinstance(error, (urllib3.exceptions.SSLError, urllib3.exceptions.LocationParseError, ElementTree.ParseError))


def _short(error: Exception) -> str:
    """An error's first line, without the objects that urllib3 prints into it."""
    text = str(error).partition("\n")[0]
    return text.rpartition(">: ")[2][:160] or type(error).__name__
