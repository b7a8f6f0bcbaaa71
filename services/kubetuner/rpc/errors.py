"""Errors over gRPC, in both directions: a KubeTunerError becomes a google.rpc.Status with its details, and such a status an error again.

    status(error) -> google.rpc.Status      ErrorInfo always; BadRequest where fields are wrong; RetryInfo where a repeat may help
    explain(rpc_error) -> KubeTunerError    for clients: the same classes that a run on a laptop raises, or Refused
    job_error(error) -> JobError            what a failed job keeps

The details follow Google's AIP-193.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from kubetuner.errors import ArtifactError, DataError, InputError, Interrupted, KubeTunerError, SpecError, SpecErrors, TrainingError
from kubetuner.v1alpha1.job_pb2 import FieldViolation, JobError

DOMAIN: Final = "kubetuner.dev"
DETAILS_KEY: Final = "grpc-status-details-bin"
_MOST_BYTES: Final = 4096  # HTTP/2 headers of 8 KiB are refused, and these bytes travel in one, base64 and all
_MOST_TEXT: Final = 1024
_OUT_OF_MEMORY: Final = "out of memory"


class Refused(KubeTunerError):
    """A call that is refused for its own sake, not for the run's: too early, too often, without the right, for nothing that is there."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        violations: Mapping[str, str] | None = None,
        retry_seconds: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        """Upper-case word for programs."""
        self.violations = dict(violations or {})
        """What is wrong with each field."""
        self.retry_seconds = retry_seconds
        """When a repeat may succeed; None where it will not."""
        self.metadata = dict(metadata or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    code: grpc.StatusCode
    reason: str
    retryable: bool


_INTERNAL: Final = _Kind(code=grpc.StatusCode.INTERNAL, reason="INTERNAL", retryable=True)
_KINDS: Final[tuple[tuple[type[BaseException], _Kind], ...]] = (
    (SpecErrors, _Kind(code=grpc.StatusCode.INVALID_ARGUMENT, reason="INPUT_INVALID", retryable=False)),
    (SpecError, _Kind(code=grpc.StatusCode.INVALID_ARGUMENT, reason="INPUT_INVALID", retryable=False)),
    (DataError, _Kind(code=grpc.StatusCode.INVALID_ARGUMENT, reason="DATA_INVALID", retryable=False)),
    (InputError, _Kind(code=grpc.StatusCode.INVALID_ARGUMENT, reason="INPUT_INVALID", retryable=False)),
    (ArtifactError, _Kind(code=grpc.StatusCode.DATA_LOSS, reason="ARTIFACT_DAMAGED", retryable=True)),
    (TrainingError, _Kind(code=grpc.StatusCode.FAILED_PRECONDITION, reason="LOSS_NOT_FINITE", retryable=False)),
    (Interrupted, _Kind(code=grpc.StatusCode.UNAVAILABLE, reason="INTERRUPTED", retryable=True)),
    (KubeTunerError, _Kind(code=grpc.StatusCode.UNAVAILABLE, reason="FAILED", retryable=True)),
)
_MEMORY: Final = _Kind(code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="DEVICE_MEMORY_EXHAUSTED", retryable=False)
_BACK: Final[dict[str, type[KubeTunerError]]] = {kind.reason: error for error, kind in _KINDS if issubclass(error, KubeTunerError)} | {
    "INPUT_INVALID": InputError
}
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def violations(error: BaseException) -> list[tuple[str, str]]:
    """(field, what is wrong with it) for each field that an error names."""
    if isinstance(error, SpecErrors):
        return [(one.path, one.problem) for one in error.errors]
    if isinstance(error, SpecError):
        return [(error.path, error.problem)]
    return list(error.violations.items()) if isinstance(error, Refused) else []


def status(error: BaseException) -> status_pb2.Status:
    """The google.rpc.Status of an error, small enough for a header. What is no KubeTunerError is INTERNAL, without its words."""
    if isinstance(error, Refused):
        return _status(error.code, error.reason, str(error), violations(error), error.retry_seconds, error.metadata)
    kind = _kind(error)
    message = str(error) if isinstance(error, KubeTunerError) else "the server failed; its log says why"
    return _status(kind.code, kind.reason, message, violations(error), 1.0 if kind.code is grpc.StatusCode.UNAVAILABLE else None, {})


def details(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata that carries a status beside its code and message; for servers."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def code(status: status_pb2.Status) -> grpc.StatusCode:
    """gRPC's own name of a status's code."""
    return _CODES[status.code]


def job_error(error: BaseException) -> JobError:
    """What a failed job keeps of its error."""
    kind = _kind(error)
    message = str(error) if isinstance(error, KubeTunerError) else f"{type(error).__name__}: {error}"
    wrong = [FieldViolation(field=field, description=problem[:_MOST_TEXT]) for field, problem in violations(error)[:1000]]
    return JobError(reason=kind.reason, message=message[: 16 * _MOST_TEXT], violations=wrong, retryable=kind.retryable)


def explain(error: grpc.RpcError) -> KubeTunerError:
    """What a call's failure means, for a client; the words are the server's."""
    found = _read(error)
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in found.details:
        for message in (info, bad, retry):
            detail.Unpack(message)
    known = _CODES.get(found.code, grpc.StatusCode.UNKNOWN)
    if info.domain == DOMAIN and info.reason == "INPUT_INVALID" and bad.field_violations:
        return SpecErrors([SpecError(row.field, row.description) for row in bad.field_violations])
    named = {row.field: row.description for row in bad.field_violations}
    if info.domain == DOMAIN and info.reason in _BACK:
        return _BACK[info.reason](found.message)
    seconds = retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
    return Refused(known, info.reason or known.name, found.message, violations=named, retry_seconds=seconds, metadata=dict(info.metadata))


def _kind(error: BaseException) -> _Kind:
    if isinstance(error, MemoryError) or (isinstance(error, KubeTunerError) and str(error).startswith(_OUT_OF_MEMORY)):
        return _MEMORY
    return next((kind for known, kind in _KINDS if isinstance(error, known)), _INTERNAL)


def _status(
    code: grpc.StatusCode, reason: str, message: str, wrong: list[tuple[str, str]], retry: float | None, metadata: Mapping[str, str]
) -> status_pb2.Status:
    found = status_pb2.Status(code=code.value[0], message=_cut(message, _MOST_TEXT))
    _add(found, error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=dict(metadata)))
    if retry is not None:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromNanoseconds(round(retry * 1e9))
        _add(found, info)
    if wrong:
        bad = error_details_pb2.BadRequest()
        for field, problem in wrong:
            row = bad.field_violations.add(field=field[:200], description=_cut(problem, _MOST_TEXT // 2))
            if found.ByteSize() + bad.ByteSize() > _MOST_BYTES:
                bad.field_violations.remove(row)
                break
        _add(found, bad)
    return found


def _add(found: status_pb2.Status, detail: Any) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    found.details.append(packed)


def _read(error: grpc.RpcError) -> status_pb2.Status:
    """The status of a failed call; made of code and message where the server sent no details."""
    call: Any = error  # grpc's errors are calls too, which its types do not say
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS_KEY:
            return status_pb2.Status.FromString(value)
    found = call.code() or grpc.StatusCode.UNKNOWN
    return status_pb2.Status(code=found.value[0] if found.value else code_pb2.UNKNOWN, message=call.details() or found.name)


def _cut(text: str, most: int) -> str:
    """Text of at most so many bytes in UTF-8."""
    data = text.encode("utf-8", "replace")
    return data.decode("utf-8") if len(data) <= most else data[: most - 4].decode("utf-8", "ignore") + " ..."
