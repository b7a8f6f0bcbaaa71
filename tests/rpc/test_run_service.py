"""RunService over TLS on a real port: every call, every refusal, and what a client sees of each."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import kubetuner
from kubetuner.controller.api import ApiError
from kubetuner.errors import SpecErrors
from kubetuner.rpc.errors import Refused
from kubetuner.v1alpha1 import run_service_pb2 as pb
from tests.builders import run_document
from tests.rpc.service import Service, serve
from tests.waiting import SECONDS


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serve(tmp_path / "tls") as found:
        yield found


def document(name: str = "tiny", **metadata: Any) -> dict[str, Any]:
    run = run_document({"datasets[0].source": {"uri": "store:datasets/photographs"}, "model.path": "store:models/tiny-sdxl"})
    run["metadata"] = {"name": name, **metadata}
    return run


def refusal(call: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def test_a_run_is_created_seen_and_deleted(service: Service) -> None:
    with service.client() as kt:
        made = kt.create_run(document())
        assert (made.metadata.name, made.metadata.namespace) == ("tiny", "team")
        assert service.api.runs["team", "tiny"]["spec"]["train"]["maxSteps"] == 2
        assert kt.get_run(made) == made
        assert [run.metadata.name for run in kt.list_runs()] == ["tiny"]
        kt.delete(made)
        service.run(_gone(service, "tiny"))
        assert refusal(lambda: kt.get_run("tiny")).code is grpc.StatusCode.NOT_FOUND


async def _gone(service: Service, name: str) -> None:
    service.cache.replace("", list(service.api.runs.values()), "1000")


def test_a_run_tells_who_created_it_whatever_it_says_itself(service: Service) -> None:
    with service.client() as kt:
        kt.create_run(document(annotations={"kubetuner.dev/created-by": "somebody else"}))
    assert service.api.runs["team", "tiny"]["metadata"]["annotations"]["kubetuner.dev/created-by"] == "alice"


def test_the_same_request_id_creates_once(service: Service) -> None:
    with service.client() as kt:
        first = kt.create_run(document(), request_id="abc")
        assert kt.create_run(document(), request_id="abc") == first
        other = refusal(lambda: kt.create_run(document("other"), request_id="abc"))
        assert (other.code, other.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
        assert refusal(lambda: kt.create_run(document())).reason == "RUN_EXISTS"
    assert len(service.api.runs) == 1


def test_a_request_id_holds_over_a_replica_that_has_not_seen_the_run(service: Service) -> None:
    with service.client() as kt:
        first = kt.create_run(document(), request_id="abc")
        service.cache._objects.clear()
        assert kt.create_run(document(), request_id="abc") == first


def test_validate_only_creates_nothing(service: Service) -> None:
    with service.client() as kt:
        assert kt.create_run(document(), validate_only=True).metadata.name == "tiny"
    assert service.api.runs == {}


def test_wrong_fields_are_named_by_their_path_in_the_cr(service: Service) -> None:
    wrong = document()
    wrong["spec"]["train"]["lora"]["rank"] = 0
    wrong["spec"]["datasets"][0]["cropAspect"] = "sqare"
    from google.protobuf import json_format

    from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

    message = json_format.ParseDict(wrong, TrainingRun())  # as a client that checks nothing itself
    with service.client() as kt:
        with pytest.raises(SpecErrors) as caught:
            kt.create_run(message)
        assert {error.path for error in caught.value.errors} == {"spec.train.lora.rank", "spec.datasets[0].cropAspect"}


def test_what_the_api_server_refuses_is_named_by_its_path(service: Service) -> None:
    causes = [{"field": "spec.train.maxSteps", "message": "must be at least 1"}]
    service.api.failures.append(ApiError(422, "Invalid", "invalid", {"causes": causes}))
    with service.client() as kt, pytest.raises(SpecErrors) as caught:
        kt.create_run(document())
    assert [error.path for error in caught.value.errors] == ["spec.train.maxSteps"]


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, "TOKEN_MISSING"),
        ("nobody", "TOKEN_INVALID"),
        ("e30.eyJleHAiOjE3MDAwMDAwMDB9.sig", "TOKEN_INVALID"),  # exp 2023
    ],
)
def test_who_has_no_good_token_is_unauthenticated(service: Service, token: str | None, reason: str) -> None:
    with service.client(token) as kt:
        error = refusal(lambda: kt.get_run("tiny"))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)


def test_an_expired_token_is_not_even_reviewed(service: Service) -> None:
    with service.client("e30.eyJleHAiOjE3MDAwMDAwMDB9.sig") as kt:
        assert "expired" in str(refusal(lambda: kt.get_run("tiny")))
    assert service.api.reviews == []


def test_a_token_of_another_audience_is_refused(service: Service) -> None:
    service.api.audiences["carol-token"] = "https://kubernetes.default.svc"
    service.api.tokens["carol-token"] = "carol"
    with service.client("carol-token") as kt:
        error = refusal(lambda: kt.get_run("tiny"))
    assert error.code is grpc.StatusCode.UNAUTHENTICATED
    assert "audience kubetuner" in str(error)


@pytest.mark.parametrize(
    "call",
    [
        lambda kt: kt.create_run(document()),
        lambda kt: kt.get_run("tiny"),
        lambda kt: list(kt.list_runs()),
        lambda kt: list(kt.watch("tiny")),
        lambda kt: kt.suspend("tiny"),
        lambda kt: kt.resume("tiny"),
        lambda kt: kt.cancel("tiny"),
        lambda kt: kt.delete("tiny"),
        lambda kt: list(kt.inspect(document())),
        lambda kt: kt.outputs("tiny"),
        lambda kt: list(kt.read_output("tiny", "lora.safetensors")),
    ],
    ids=["create", "get", "list", "watch", "suspend", "resume", "cancel", "delete", "inspect", "outputs", "read"],
)
def test_who_has_no_rights_in_the_namespace_may_do_nothing(service: Service, call: Any) -> None:
    with service.client() as kt:
        kt.create_run(document())
    with service.client("bob-token") as kt:
        error = refusal(lambda: call(kt))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert error.metadata["namespace"] == "team"
    assert ("team", "tiny") in service.api.runs


def test_reviews_are_remembered_for_a_while(tmp_path: Path) -> None:
    now = [0.0]
    with serve(tmp_path / "tls", gate_clock=lambda: now[0]) as service, service.client() as kt:
        kt.create_run(document())
        kt.get_run("tiny")
        kt.get_run("tiny")
        assert sorted(service.api.reviews) == ["access", "access", "token"]  # to create, and get of this run
        now[0] = 30.0
        kt.get_run("tiny")
        assert sorted(service.api.reviews) == ["access", "access", "access", "token"]
        service.api.tokens.clear()
        kt.get_run("tiny")
        now[0] = 70.0
        assert refusal(lambda: kt.get_run("tiny")).code is grpc.StatusCode.UNAUTHENTICATED


def test_pages_hold_all_runs_once_newest_first(service: Service) -> None:
    with service.client() as kt:
        for number in range(7):
            kt.create_run(document(f"run-{number}"))
    stub = _stub(service)
    names: list[str] = []
    token = ""
    while True:
        page = stub.ListRuns(pb.ListRunsRequest(namespace="team", page_size=3, page_token=token), metadata=_alice())
        names += [run.metadata.name for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"run-{number}" for number in reversed(range(7))]


@pytest.mark.parametrize("token", ["garbage", "e30", "////", "WyJ4Il0"])
def test_a_page_token_of_nobody_is_an_error_of_its_field(service: Service, token: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        _stub(service).ListRuns(pb.ListRunsRequest(namespace="team", page_token=token), metadata=_alice())
    error = kubetuner_error(caught.value)
    assert isinstance(error, SpecErrors)
    assert [one.path for one in error.errors] == ["pageToken"]


def test_a_page_token_belongs_to_its_question(service: Service) -> None:
    with service.client() as kt:
        for number in range(3):
            kt.create_run(document(f"run-{number}"))
    stub = _stub(service)
    page = stub.ListRuns(pb.ListRunsRequest(namespace="team", page_size=1), metadata=_alice())
    with pytest.raises(grpc.RpcError):
        stub.ListRuns(pb.ListRunsRequest(namespace="other", page_token=page.next_page_token), metadata=_alice())


def test_runs_of_all_namespaces_are_those_that_the_caller_may_see(service: Service) -> None:
    service.api.rights.add(("bob", "theirs"))
    with service.client() as kt:
        kt.create_run(document("a"), namespace="team")
        kt.create_run(document("b"), namespace="other")
        assert sorted(run.metadata.name for run in kt.list_runs("")) == ["a", "b"]
    with service.client("bob-token") as kt:
        kt.create_run(document("c"), namespace="theirs")
        assert [run.metadata.name for run in kt.list_runs("")] == ["c"]


def test_suspend_resume_and_cancel_change_the_spec(service: Service) -> None:
    with service.client() as kt:
        kt.create_run(document())
        assert kt.suspend("tiny").spec.suspend
        assert not kt.resume("tiny").spec.suspend
        assert kt.cancel("tiny").spec.cancel
        assert service.api.runs["team", "tiny"]["spec"]["cancel"] is True


def test_a_run_that_has_ended_cannot_be_suspended_and_stays_when_cancelled(service: Service) -> None:
    with service.client() as kt:
        kt.create_run(document())
        service.status("tiny", {"phase": "Succeeded"})
        assert refusal(lambda: kt.suspend("tiny")).reason == "RUN_FINISHED"
        assert refusal(lambda: kt.resume("tiny")).reason == "RUN_FINISHED"
        assert not kt.cancel("tiny").spec.cancel


def events(service: Service, name: str, start: int, count: int, *, last: str = "") -> None:
    for sequence in range(start, start + count):
        ended = {"phase": last} if last and sequence == start + count - 1 else {"phase": "Running"}
        service.status(name, {"sequence": sequence, "reason": "Progress", "message": f"event {sequence}", **ended})


def test_a_watch_tells_each_event_once_until_the_run_ends(service: Service) -> None:
    with service.client() as kt:
        kt.create_run(document())
        events(service, "tiny", 1, 3)
        watching = kt.watch("tiny", start=1)
        assert [event.sequence for event in itertools.islice(watching, 3)] == [1, 2, 3]
        events(service, "tiny", 4, 3, last="Succeeded")
        assert [event.sequence for event in watching] == [4, 5, 6]
        assert [event.sequence for event in kt.watch("tiny", start=5)] == [5, 6]
        [newest] = kt.watch("tiny")
        assert (newest.sequence, newest.status.phase) == (6, "Succeeded")


def test_a_watch_goes_on_after_the_server_was_away(service: Service) -> None:
    with service.client(patience_seconds=SECONDS) as kt:
        kt.create_run(document())
        events(service, "tiny", 1, 2)
        seen: list[int] = []
        broken = threading.Event()

        def disturb() -> None:
            broken.wait()
            service.restart()
            events(service, "tiny", 3, 3, last="Succeeded")

        other = threading.Thread(target=disturb)
        other.start()
        for event in kt.watch("tiny", start=1):
            seen.append(event.sequence)
            if event.sequence == 2:
                broken.set()
        other.join()
    assert seen == [1, 2, 3, 4, 5]


def test_events_that_are_too_old_are_out_of_range(service: Service) -> None:
    with service.client() as kt:
        kt.create_run(document())
        events(service, "tiny", 1, 100)
        error = refusal(lambda: list(kt.watch("tiny", start=1)))
    assert (error.code, error.reason) == (grpc.StatusCode.OUT_OF_RANGE, "EVENTS_TOO_OLD")
    assert error.metadata["oldestSequence"] == "37"


def test_a_deleted_run_ends_its_watch(service: Service) -> None:
    with service.client() as kt:
        kt.create_run(document())
        events(service, "tiny", 1, 1)
        watching = kt.watch("tiny", start=1)
        assert next(watching).sequence == 1
        kt.delete("tiny")
        service.run(_gone(service, "tiny"))
        assert refusal(lambda: list(watching)).reason == "RUN_DELETED"


def test_an_api_server_that_is_away_is_unavailable_and_asked_again(service: Service) -> None:
    service.api.failures += [ApiError(0, "Unreachable", "connection refused")] * 2
    with service.client() as kt:
        assert kt.create_run(document()).metadata.name == "tiny"  # by gRPC's own repeats


def test_a_message_that_breaks_a_rule_of_the_call_is_refused(service: Service) -> None:
    with service.client() as kt, pytest.raises(SpecErrors) as caught:
        kt.get_run("No Such Name!")
    assert [error.path for error in caught.value.errors] == ["run.name"]


def test_a_client_that_does_not_trust_the_authority_does_not_connect(service: Service, tmp_path: Path) -> None:
    from tests.rpc.certificates import make

    with service.client(ca=make(tmp_path / "other").authority, patience_seconds=0.0) as kt:
        error = refusal(lambda: list(kt.watch("tiny")))  # a stream, which gRPC itself does not repeat
    assert error.code is grpc.StatusCode.UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)


def test_certificates_are_read_again_when_they_change(service: Service, tmp_path: Path) -> None:
    from tests.rpc.certificates import make

    fresh = make(tmp_path / "fresh")
    with service.client() as kt:
        kt.create_run(document())
    service.certificates.key.write_bytes(fresh.key.read_bytes())
    service.certificates.certificate.write_bytes(fresh.certificate.read_bytes())
    with service.client(ca=fresh.authority) as kt:
        assert kt.get_run("tiny").metadata.name == "tiny"


def test_health_needs_no_token_and_reflection_does(service: Service) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    with _channel(service) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="kubetuner.v1alpha1.RunService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.ServerReflectionInfo(iter([asked])))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined] (grpc's errors are calls too)
        [found] = stub.ServerReflectionInfo(iter([asked]), metadata=_alice())
        assert "kubetuner.v1alpha1.RunService" in {row.name for row in found.list_services_response.service}


def test_the_asyncio_client_does_the_same(service: Service) -> None:
    import asyncio

    async def use() -> list[int]:
        async with kubetuner.connect(
            service.address, token=lambda: "alice-token", ca=service.certificates.authority.read_bytes(), namespace="team"
        ) as kt:
            run = await kt.create_run(document())
            await asyncio.to_thread(events, service, "tiny", 1, 2, last="Failed")
            return [event.sequence async for event in kt.watch(run, start=1)]

    assert asyncio.run(use()) == [1, 2]


def kubetuner_error(error: grpc.RpcError) -> Exception:
    from kubetuner.rpc.errors import explain

    return explain(error)


def _alice() -> tuple[tuple[str, str], ...]:
    return (("authorization", "Bearer alice-token"),)


def _channel(service: Service) -> grpc.Channel:
    return grpc.secure_channel(service.address, grpc.ssl_channel_credentials(service.certificates.authority.read_bytes()))


def _stub(service: Service) -> Any:
    from kubetuner.v1alpha1 import run_service_pb2_grpc

    return run_service_pb2_grpc.RunServiceStub(_channel(service))
