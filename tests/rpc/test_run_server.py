"""What RunService's server is told, how a command ends that a signal stops, and what is loaded for nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from kubetuner.artifacts import outputs
from kubetuner.artifacts.inventory import Inventory, Node
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.client.channel import Target, of_environment
from kubetuner.client.download import safe
from kubetuner.controller import service_pages as pages
from kubetuner.controller import service_server
from kubetuner.controller.jobs import Order
from kubetuner.controller.jobs import request as make_request
from kubetuner.controller.runs import Caller
from kubetuner.controller.service_auth import Gate, Kept
from kubetuner.controller.service_outputs import resolved_run
from kubetuner.controller.service_removal import decide
from kubetuner.errors import ArtifactError, InputError, SpecErrors
from kubetuner.rpc.errors import Refused
from kubetuner.spec.resolve import resolve_spec
from kubetuner.v1alpha1.evaluate_service_pb2 import StartEvaluateRequest
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun
from tests.rpc.certificates import make
from tests.rpc.service import serve
from tests.rpc.test_run_service import document
from tests.waiting import SECONDS


def test_without_certificates_there_is_no_service(tmp_path: Path) -> None:
    assert service_server.read({"KUBETUNER_STORE": "s3://bucket"}) is None


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"KUBETUNER_GRPC_LISTEN": "[::]:8443"}, "KUBETUNER_TLS_CERT"),
        ({"KUBETUNER_TLS_CERT": "/etc/hostname"}, "KUBETUNER_TLS_KEY"),
        ({"KUBETUNER_TLS_CERT": "/none", "KUBETUNER_TLS_KEY": "/none"}, "KUBETUNER_TLS_CERT"),
        ({"KUBETUNER_GRPC_INSECURE": "1"}, "KUBETUNER_STORE"),
        ({"KUBETUNER_GRPC_INSECURE": "maybe"}, "KUBETUNER_GRPC_INSECURE"),
    ],
)
def test_wrong_settings_are_named(environment: dict[str, str], name: str) -> None:
    with pytest.raises(InputError, match=name):
        service_server.read(environment)


def test_a_command_that_a_signal_stops_ends_with_143(tmp_path: Path) -> None:
    with serve(tmp_path / "tls") as service, service.client() as kt:
        kt.create_run(document())
        service.status("tiny", {"sequence": 1, "phase": "Running", "reason": "TrainStarted"})
        environment = os.environ | {
            "KUBETUNER_ADDRESS": service.address,
            "KUBETUNER_CA": str(service.certificates.authority),
            "KUBETUNER_TOKEN": "alice-token",
            "KUBETUNER_NAMESPACE": "team",
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-m", "kubetuner.cli.main", "watch", "tiny"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "TrainStarted" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 143
    assert errors.startswith("kubetuner: interrupted")


def test_importing_kubetuner_loads_no_grpc() -> None:
    code = "import sys, kubetuner; assert not {'grpc', 'google.protobuf', 'torch'} & set(sys.modules); kubetuner.connect; import grpc"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_environment_says_where_and_who(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    found = of_environment({"KUBETUNER_ADDRESS": "host:1", "KUBETUNER_TOKEN_FILE": str(tmp_path / "token"), "KUBETUNER_INSECURE": "1"})
    assert found.metadata() == (("authorization", "Bearer first"),)
    (tmp_path / "token").write_text("second\n")  # as a projected token is replaced
    assert found.metadata() == (("authorization", "Bearer second"),)
    assert (found.address, found.insecure) == ("host:1", True)
    (tmp_path / "token").unlink()
    with pytest.raises(InputError, match="token"):
        found.metadata()


@pytest.mark.parametrize(
    "target", [Target(address=""), Target(address="host:1", ca="/none/ca.crt"), Target(address="host:1", ca="/etc/hostname")]
)
def test_a_wrong_target_is_wrong_input(target: Target) -> None:
    with pytest.raises(InputError):
        target.channel()


def test_a_server_that_asks_for_certificates_takes_only_clients_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = make(tmp_path / "clients", name="client")
    with serve(tmp_path / "tls", client_authority=clients.authority) as service:
        with service.client(patience_seconds=0.0) as kt, pytest.raises(Refused) as caught:
            list(kt.watch("tiny"))
        assert caught.value.code.name == "UNAVAILABLE"
        monkeypatch.setenv("KUBETUNER_CERT", str(clients.certificate))
        monkeypatch.setenv("KUBETUNER_KEY", str(clients.key))
        with service.client() as kt:
            assert list(kt.list_runs()) == []


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", "a\0b", "a\\..\\b"])
def test_no_server_can_name_a_path_outside_the_folder(path: str) -> None:
    with pytest.raises(ArtifactError):
        safe(path)


def test_answers_are_kept_for_their_time_and_not_more_than_so_many() -> None:
    now = 0.0
    kept: Kept[int, str] = Kept(3, lambda: now)
    for number in range(5):
        kept.put(number, str(number), 10.0)
    assert [kept.get(number) for number in range(5)] == [None, None, "2", "3", "4"]
    now = 10.0
    assert kept.get(4) is None
    assert len(kept) == 2


def ref(noun: str, name: str) -> ArtifactRef:
    return ArtifactRef(noun=noun, fingerprint=name)


def node(one: ArtifactRef, *refers: ArtifactRef) -> Node:
    return Node(ref=one, keys=(one.key("index.json"),), size=1, modified=0.0, refers=frozenset(refers))


def test_only_what_nothing_else_needs_goes_with_a_run() -> None:
    manifest, cache, mine, theirs = ref("manifest", "m"), ref("cache", "c"), ref("checkpoint", "mine"), ref("checkpoint", "theirs")
    report, files, shard = ref("report", "r"), ref("outputs", "o"), ref("latents", "e-1")
    model = ref("model", "sdxl")
    nodes = [node(manifest), node(cache, manifest, shard), node(shard), node(mine, cache), node(theirs, cache), node(model)]
    nodes += [node(report, mine), node(files, report)]
    found = Inventory(nodes={one.ref: one for one in nodes})
    ours = {manifest, cache, mine, report, model}
    assert decide(found, ours, set()) == [files, report, mine]  # another training, of whoever, was made from the cache
    del nodes[4]
    found = Inventory(nodes={one.ref: one for one in nodes})
    assert decide(found, ours, {manifest}) == [files, report, mine, cache, shard]
    assert decide(found, ours, {report}) == []


def test_the_pod_and_the_controller_name_the_same_files() -> None:
    run = document()
    run["spec"] |= {"suspend": False, "queue": "gpus", "compute": {"evaluate": {"resources": {"gpus": 1}}}}
    run["metadata"] |= {"namespace": "team", "uid": "uid-1", "labels": {"a": "b"}}
    report = ref("report", "r" * 40)
    order = Order(
        namespace="team",
        run="tiny",
        uid="uid-1",
        stage="evaluate",
        attempt=2,
        spec=run["spec"],
        source=("checkpoint", "c" * 40),
        model="f" * 40,
    )
    request = json_format.ParseDict(make_request(order), StartEvaluateRequest())
    resolve_spec(request.spec)
    in_the_pod = TrainingRun(spec=request.spec)
    in_the_pod.metadata.name = "tiny"
    assert outputs.reference(report, in_the_pod) == outputs.reference(report, resolved_run(run))
    other = document("other")
    assert outputs.reference(report, resolved_run(other)) != outputs.reference(report, resolved_run(run))


def test_many_calls_at_once_cost_one_review() -> None:
    class Slow:
        asked = 0

        async def review_token(self, token: str, audience: str) -> Caller | None:
            self.asked += 1
            await asyncio.sleep(0.05)
            return Caller(username="alice", uid="", groups=(), extra=())

        async def review_access(self, caller: Caller, verb: str, namespace: str, name: str = "") -> tuple[bool, str]:
            raise AssertionError("not asked for")

    slow = Slow()

    async def use() -> None:
        gate = Gate(slow)
        await asyncio.gather(*(gate.identify([("authorization", "Bearer x")]) for _ in range(50)))

    asyncio.run(use())
    assert slow.asked == 1


def test_a_token_is_kept_to_its_end_and_no_longer_though_its_review_took_a_while() -> None:
    class Reviews:
        now = 0.0

        async def review_token(self, token: str, audience: str) -> Caller | None:
            self.now += 5.0
            return Caller(username="alice", uid="", groups=(), extra=())

        async def review_access(self, caller: Caller, verb: str, namespace: str, name: str = "") -> tuple[bool, str]:
            raise AssertionError("not asked for")

    reviews = Reviews()
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 10}).encode()).decode().rstrip("=")
    metadata = [("authorization", f"Bearer e30.{claims}.sig")]

    async def use() -> None:
        gate = Gate(reviews, clock=lambda: reviews.now, wall=lambda: reviews.now)
        await gate.identify(metadata)
        reviews.now = 9.0
        await gate.identify(metadata)
        reviews.now = 11.0
        with pytest.raises(Refused, match="expired"):
            await gate.identify(metadata)

    asyncio.run(use())


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("123"), st.sampled_from("xy")), unique=True), st.integers(1, 5))
def test_pages_of_any_size_hold_each_run_once_in_order(rows: list[tuple[str, str, str]], size: int) -> None:
    runs = [{"metadata": {"creationTimestamp": time_, "name": name, "namespace": space}} for name, time_, space in rows]
    seen: list[tuple[str, str, str]] = []
    token = ""
    while True:
        rest = pages.after(runs, token, "question")
        seen += [pages.place(run) for run in rest[:size]]
        if len(rest) <= size:
            break
        token = pages.token(rest[size - 1], "question")
    assert seen == sorted((pages.place(run) for run in runs), reverse=True)


@given(st.text(max_size=200))
def test_any_text_for_a_token_is_an_error_of_its_field(text: str) -> None:
    if not text:
        assert pages.after([], text, "question") == []
        return
    with pytest.raises(SpecErrors) as caught:
        pages.after([], text, "question")
    assert [error.path for error in caught.value.errors] == ["pageToken"]
