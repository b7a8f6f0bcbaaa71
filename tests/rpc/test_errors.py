"""Errors on their way through a google.rpc.Status and back."""

import grpc
import pytest
from google.rpc import error_details_pb2

from kubetuner.errors import ArtifactError, DataError, InputError, Interrupted, KubeTunerError, SpecError, SpecErrors, TrainingError
from kubetuner.rpc import errors
from kubetuner.rpc.errors import Refused


class Failure(grpc.RpcError):
    """A failed call as a client gets it, without a server."""

    def __init__(self, error: BaseException, *, details: bool = True) -> None:
        super().__init__()
        self._status = errors.status(error)
        self._details = details

    def code(self) -> grpc.StatusCode:
        return errors.code(self._status)

    def details(self) -> str:
        return self._status.message

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return errors.details(self._status) if self._details else ()


@pytest.mark.parametrize(
    ("error", "code", "back"),
    [
        (SpecErrors([SpecError("spec.seed", "-1 given")]), grpc.StatusCode.INVALID_ARGUMENT, SpecErrors),
        (SpecError("spec.seed", "-1 given"), grpc.StatusCode.INVALID_ARGUMENT, SpecErrors),
        (DataError("cat.png: damaged"), grpc.StatusCode.INVALID_ARGUMENT, DataError),
        (InputError("no such file"), grpc.StatusCode.INVALID_ARGUMENT, InputError),
        (ArtifactError("cache/1: damaged"), grpc.StatusCode.DATA_LOSS, ArtifactError),
        (TrainingError("the loss is nan"), grpc.StatusCode.FAILED_PRECONDITION, TrainingError),
        (Interrupted("stopped"), grpc.StatusCode.UNAVAILABLE, Interrupted),
        (KubeTunerError("the store is away"), grpc.StatusCode.UNAVAILABLE, KubeTunerError),
    ],
)
def test_an_error_comes_back_as_what_it_was(error: KubeTunerError, code: grpc.StatusCode, back: type[KubeTunerError]) -> None:
    found = errors.explain(Failure(error))
    assert Failure(error).code() is code
    assert type(found) is back
    assert str(found) == str(error)
    assert errors.violations(found) == errors.violations(error)


def test_every_status_has_its_reason_and_at_most_one_detail_of_a_kind() -> None:
    for error in (
        SpecError("a", "b"),
        KubeTunerError("x"),
        RuntimeError("x"),
        Refused(grpc.StatusCode.ABORTED, "X", "x", retry_seconds=1.5),
    ):
        kinds = [detail.type_url for detail in errors.status(error).details]
        assert len(kinds) == len(set(kinds))
        info = error_details_pb2.ErrorInfo()
        assert errors.status(error).details[0].Unpack(info)
        assert info.domain == "kubetuner.dev"
        assert info.reason.isupper()


def test_a_refusal_keeps_all_it_says() -> None:
    said = Refused(grpc.StatusCode.ABORTED, "ETAG_STALE", "changed", violations={"etag": "old"}, retry_seconds=1.5, metadata={"now": "7"})
    found = errors.explain(Failure(said))
    assert isinstance(found, Refused)
    assert (found.code, found.reason, str(found)) == (said.code, said.reason, str(said))
    assert (found.violations, found.retry_seconds, found.metadata) == (said.violations, 1.5, said.metadata)


def test_what_is_no_error_of_ours_tells_no_outsider_its_words() -> None:
    found = errors.explain(Failure(RuntimeError("password of the store")))
    assert isinstance(found, Refused)
    assert found.code is grpc.StatusCode.INTERNAL
    assert "password" not in str(found)
    assert "password" in errors.job_error(RuntimeError("password of the store")).message  # the job's owner is told


def test_a_thousand_violations_fit_a_header() -> None:
    many = SpecErrors([SpecError(f"spec.datasets[{number}].source.uri", "é" * 400) for number in range(1000)])
    found = errors.status(many)
    assert found.ByteSize() <= 6144
    assert 1 <= len(errors.violations(errors.explain(Failure(many)))) < 1000
    assert len(errors.job_error(many).violations) == 1000


def test_a_server_without_details_is_understood() -> None:
    found = errors.explain(Failure(Refused(grpc.StatusCode.NOT_FOUND, "X", "nobody"), details=False))
    assert isinstance(found, Refused)
    assert (found.code, found.reason, str(found)) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "nobody")
