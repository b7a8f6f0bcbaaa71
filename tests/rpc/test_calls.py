"""What stands around every call: rules, deadlines, limits, health, reflection, TLS."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from kubetuner.errors import SpecErrors
from kubetuner.rpc import errors
from kubetuner.rpc.calls import MOST_STREAMS
from kubetuner.rpc.errors import Refused
from kubetuner.rpc.settings import Listening, Tls
from kubetuner.storage.memory import MemoryStore
from kubetuner.v1alpha1 import ingest_service_pb2, ingest_service_pb2_grpc, job_service_pb2
from tests.rpc.rooms import Client, Place, Slow, a_spec, serving
from tests.waiting import SECONDS

ALL = ("", "kubetuner.v1alpha1.IngestService", "kubetuner.v1alpha1.JobService")


@pytest.fixture
def client() -> Iterator[Client]:
    with serving(MemoryStore(), Slow()) as found:
        yield found


@contextmanager
def refused(code: grpc.StatusCode) -> Iterator[list[Exception]]:
    found: list[Exception] = []
    with pytest.raises(grpc.RpcError) as caught:
        yield found
    assert caught.value.code() is code, caught.value
    found.append(errors.explain(caught.value))


def test_a_wrong_spec_is_refused_with_every_field(client: Client) -> None:
    spec = a_spec()
    spec.datasets[0].crop, spec.datasets[0].crop_aspect = True, "sqare"
    spec.train.batch_size = 0
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as found:
        client.start(spec)
    assert isinstance(found[0], SpecErrors)
    assert [error.path for error in found[0].errors] == ["spec.datasets[0].cropAspect", "spec.train.batchSize"]
    assert "did you mean square?" in found[0].errors[0].problem


@pytest.mark.parametrize(
    ("fields", "path"),
    [({"request_id": "../secret"}, "requestId"), ({"attempt": -1}, "attempt"), ({"run": "x" * 400}, "run")],
)
def test_a_wrong_request_is_refused_with_its_field(client: Client, fields: dict[str, object], path: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as found:
        client.start(**fields)
    assert isinstance(found[0], SpecErrors)
    assert [error.path for error in found[0].errors] == [path]


def test_a_call_without_a_deadline_is_refused(client: Client) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as found:
        client.jobs.GetJob(job_service_pb2.GetJobRequest(name="a"))
    assert isinstance(found[0], Refused)
    assert found[0].reason == "DEADLINE_REQUIRED"


def test_a_message_past_four_megabytes_is_refused(client: Client) -> None:
    spec = a_spec()
    spec.evaluate.prompts.extend(["x" * 8000] * 600)
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        client.start(spec)


def test_streams_past_the_limit_are_refused_and_calls_still_answered(client: Client) -> None:
    client.start(request_id="a-1")
    streams = [client.watch("a-1") for _ in range(MOST_STREAMS)]
    for stream in streams:
        next(stream)
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as found:
        next(client.watch("a-1"))
    assert isinstance(found[0], Refused)
    assert found[0].retry_seconds is not None
    assert client.get("a-1").name == "a-1"


def test_health_is_told_for_each_service_in_plain_text_until_the_end() -> None:
    place = Place(MemoryStore(), Slow())
    client = place.__enter__()
    with grpc.insecure_channel(f"127.0.0.1:{client.health_port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ALL:
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="another"), timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watching = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=SECONDS)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        place._server.leave()
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:  # of all there is, the probes' port has health alone
            ingest_service_pb2_grpc.IngestServiceStub(channel).StartIngest(ingest_service_pb2.StartIngestRequest(), timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        place.__exit__()


@pytest.mark.parametrize("on", [True, False])
def test_reflection_is_served_where_it_is_asked_for(on: bool) -> None:
    with serving(MemoryStore(), Slow(), listening=Listening(address="127.0.0.1:0", health_address="", reflection=on)) as client:
        stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        answers = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="*")]), timeout=SECONDS)
        if on:
            named = {service.name for service in next(answers).list_services_response.service}
            assert {name for name in ALL if name} <= named
        else:
            with pytest.raises(grpc.RpcError) as caught:
                next(answers)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def certificate(folder: Path, name: str, *, signed_by: str = "") -> tuple[Path, Path]:
    """A certificate for localhost with its key; its own authority where nobody signs it."""
    key, found = folder / f"{name}.key", folder / f"{name}.crt"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    ]
    extra = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    signer = ["-CA", str(folder / f"{signed_by}.crt"), "-CAkey", str(folder / f"{signed_by}.key")] if signed_by else []
    made = subprocess.run([*command, *extra, *signer, "-keyout", str(key), "-out", str(found)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return found, key


def secure(root: Path, pair: tuple[Path, Path] | None = None) -> grpc.ChannelCredentials:
    if pair is None:
        return grpc.ssl_channel_credentials(root.read_bytes())
    return grpc.ssl_channel_credentials(root.read_bytes(), pair[1].read_bytes(), pair[0].read_bytes())


def attempt(port: int, trusted: grpc.ChannelCredentials) -> grpc.StatusCode:
    with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_a_certificate_that_changes_is_served_at_the_next_handshake(tmp_path: Path) -> None:
    old, new = certificate(tmp_path, "old"), certificate(tmp_path, "new")
    used = (tmp_path / "tls.crt", tmp_path / "tls.key")
    for target, source in zip(used, old, strict=True):
        target.write_bytes(source.read_bytes())
    listening = Listening(address="127.0.0.1:0", health_address="", tls=Tls(certificate=used[0], key=used[1]))
    place = Place(MemoryStore(), Slow(), listening, lambda port: grpc.secure_channel(f"localhost:{port}", secure(old[0])))
    with place:
        port = place._server.port
        assert attempt(port, secure(old[0])) is grpc.StatusCode.OK
        used[0].write_bytes(new[0].read_bytes())  # half of a rotation: no pair, so the old one stays
        assert attempt(port, secure(old[0])) is grpc.StatusCode.OK
        used[1].write_bytes(new[1].read_bytes())
        os.utime(used[1])
        assert attempt(port, secure(new[0])) is grpc.StatusCode.OK
        assert attempt(port, secure(old[0])) is grpc.StatusCode.UNAVAILABLE


def test_clients_without_a_certificate_are_turned_away_where_one_is_asked_for(tmp_path: Path) -> None:
    own, authority = certificate(tmp_path, "own"), certificate(tmp_path, "authority")
    friend, stranger = certificate(tmp_path, "friend", signed_by="authority"), certificate(tmp_path, "stranger")
    tls = Tls(certificate=own[0], key=own[1], client_authority=authority[0])
    listening = Listening(address="127.0.0.1:0", health_address="", tls=tls)
    place = Place(MemoryStore(), Slow(), listening, lambda port: grpc.secure_channel(f"localhost:{port}", secure(own[0], friend)))
    with place:
        port = place._server.port
        assert attempt(port, secure(own[0], friend)) is grpc.StatusCode.OK
        assert attempt(port, secure(own[0])) is grpc.StatusCode.UNAVAILABLE
        assert attempt(port, secure(own[0], stranger)) is grpc.StatusCode.UNAVAILABLE
