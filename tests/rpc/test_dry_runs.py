"""Dry runs over RunService, looked at by the real server of the other container, on a socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from kubetuner.errors import SpecErrors
from kubetuner.rpc.errors import Refused, explain
from kubetuner.v1alpha1.ingest_service_pb2 import InspectDatasetsRequest
from kubetuner.v1alpha1.ingest_service_pb2_grpc import IngestServiceStub
from kubetuner.v1alpha1.inspection_pb2 import Inspection
from kubetuner.v1alpha1.training_run_pb2 import Progress, TrainingRun
from tests.builders import photographs
from tests.processes import children
from tests.rpc.service import serve
from tests.rpc.test_run_service import document, refusal
from tests.waiting import SECONDS, until


@dataclass
class Looker:
    """`python -m kubetuner.ingest.looks` on a socket over a store of some pictures."""

    socket: Path
    store: Path
    process: subprocess.Popen[bytes] | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    def start(self) -> int:
        """Returns the process's number once it answers."""
        environment = {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PATH": "",
            "KUBETUNER_STORE": str(self.store),
            "KUBETUNER_LISTEN": self.address,
            "KUBETUNER_HEALTH_LISTEN": "127.0.0.1:0",
            "KUBETUNER_LOG_LEVEL": "error",
        }
        self.process = self.stack.enter_context(subprocess.Popen([sys.executable, "-m", "kubetuner.ingest.looks"], env=environment))
        self.stack.callback(self.process.kill)
        with grpc.insecure_channel(self.address) as channel:
            grpc.channel_ready_future(channel).result(timeout=SECONDS)
        return self.process.pid

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@pytest.fixture
def looker(tmp_path: Path) -> Iterator[Looker]:
    store = tmp_path / "store"
    photographs(store / "datasets" / "photographs", [(64, 64), (64, 64), (128, 64)])
    (store / "datasets" / "photographs" / "broken.png").write_bytes(b"no picture")
    with TemporaryDirectory() as short, ExitStack() as stack:  # a socket's path has at most 107 characters
        yield Looker(socket=Path(short) / "s", store=store, stack=stack)


def test_a_dry_run_counts_every_picture_and_writes_nothing(looker: Looker, tmp_path: Path) -> None:
    looker.start()
    before = {path for path in looker.store.rglob("*") if path.is_file()}
    with serve(tmp_path / "tls", inspection=looker.address) as service, service.client() as kt:
        steps = list(kt.inspect(document()))
    assert all(isinstance(step, Progress) for step in steps[:-1])
    assert isinstance(found := steps[-1], Inspection)
    assert [(row.dataset, row.images, row.used, dict(row.unused)) for row in found.datasets] == [("photographs", 4, 3, {"unreadable": 1})]
    assert found.steps == 2
    assert {path for path in looker.store.rglob("*") if path.is_file()} == before


def test_fields_that_only_the_other_server_finds_wrong_are_named(looker: Looker, tmp_path: Path) -> None:
    looker.start()
    run = document()
    run["spec"]["datasets"][0]["source"]["uri"] = "store:../elsewhere"
    with serve(tmp_path / "tls", inspection=looker.address) as service, service.client() as kt, pytest.raises(SpecErrors) as caught:
        list(kt.inspect(run))
    assert [error.path for error in caught.value.errors] == ["spec.datasets[0].source.uri"]


def test_where_nobody_looks_a_dry_run_is_refused_with_the_cure(tmp_path: Path) -> None:
    with serve(tmp_path / "tls") as service, service.client() as kt:
        refused = refusal(lambda: list(kt.inspect(document())))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INSPECTION_OFF")
    assert "inspection.enabled" in str(refused)


def test_a_server_that_is_away_is_told_of_and_asked_again(looker: Looker, tmp_path: Path) -> None:
    with serve(tmp_path / "tls", inspection=looker.address) as service, service.client() as kt:
        for _ in range(2):
            refused = refusal(lambda: list(kt.inspect(document())))
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "INSPECTION_AWAY")
            assert refused.retry_seconds
            looker.start()
            assert isinstance(list(kt.inspect(document()))[-1], Inspection)
            looker.end(signal.SIGKILL)  # its socket stays behind


def test_asked_to_stop_it_ends_well(looker: Looker) -> None:
    looker.start()
    assert looker.end(signal.SIGTERM) == 0


def much(looker: Looker) -> None:
    """More pictures than are looked at while a test waits."""
    folder = looker.store / "datasets" / "photographs"
    [large] = photographs(folder, [(1024, 1024)])
    for count in range(100):
        (folder / f"{count}.png").write_bytes(large.read_bytes() + bytes([count]))  # each is decoded, as no two are equal


def test_who_hangs_up_ends_the_look(looker: Looker, tmp_path: Path) -> None:
    much(looker)
    number = looker.start()
    with serve(tmp_path / "tls", inspection=looker.address) as service, service.client() as kt:
        steps = kt.inspect(document())
        next(steps)
        assert children(number)
        steps.close()
        until(lambda: not children(number))


def test_one_run_is_looked_at_at_a_time(looker: Looker) -> None:
    number = looker.start()

    def finding(call: Any) -> bool:
        *_, last = call
        return last.HasField("inspection")

    most = 0
    with grpc.insecure_channel(looker.address) as channel, ThreadPoolExecutor() as readers:
        reads = [readers.submit(finding, look(channel)) for _ in range(4)]
        while not all(read.done() for read in reads):
            most = max(most, len(children(number)))
        assert all(read.result() for read in reads)
    assert most == 1


def test_only_a_few_wait_for_a_look_and_who_leaves_makes_room(looker: Looker) -> None:
    much(looker)
    number = looker.start()
    with grpc.insecure_channel(looker.address) as channel:
        calls = [look(channel) for _ in range(10)]
        until(lambda: any(call.done() for call in calls))
        [refused] = [explain(call) for call in calls if call.done()]
        assert isinstance(refused, Refused)
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_LOOKS")
        assert refused.retry_seconds
        for call in calls:
            call.cancel()
        until(lambda: not children(number))
        assert next(look(channel)).HasField("progress")


def look(channel: grpc.Channel) -> Any:
    """A call to the server itself that asks for a dry run."""
    spec = json_format.ParseDict(document(), TrainingRun(), ignore_unknown_fields=True).spec
    return IngestServiceStub(channel).InspectDatasets(InspectDatasetsRequest(spec=spec), timeout=SECONDS)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("uri", ["/etc", "photographs", "volume://claim/x", "file:///etc"])
def test_a_dry_run_sees_no_places_of_the_servers_own(looker: Looker, tmp_path: Path, uri: str) -> None:
    run = document()
    run["spec"]["datasets"][0]["source"]["uri"] = uri
    with serve(tmp_path / "tls", inspection=looker.address) as service, service.client() as kt, pytest.raises(SpecErrors) as caught:
        list(kt.inspect(run))
    assert [error.path for error in caught.value.errors] == ["spec.datasets[0].source.uri"]
