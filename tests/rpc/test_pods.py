"""Pods as processes: asked to stop, several of one training, given what is wrong."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from safetensors.torch import load

from kubetuner.storage.directory import DirectoryStore
from kubetuner.v1alpha1 import job_service_pb2, job_service_pb2_grpc
from kubetuner.v1alpha1.job_pb2 import JobState
from tests.ports import free_port
from tests.processes import heeds
from tests.rpc.flows import Pods, a_request, as_controller, furnish, spec, through
from tests.waiting import SECONDS, until

STEPS = 40
TRAIN: dict[str, Any] = {
    "maxSteps": STEPS,
    "batchSize": 1,
    "gradientAccumulationSteps": 2,
    "checkpoint": {"everySteps": 5},
    "lora": {"rank": 2, "dropout": 0.2},
}


@pytest.fixture(scope="module")
def embedded(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder whose store has all up to the cache, and the request to train on it."""
    base = tmp_path_factory.mktemp("embedded")
    furnish(base, tiny_sdxl)
    given = spec(train=TRAIN)
    said = through(Pods(base), given, ("ingest", "embed"))
    return base, a_request("train", as_controller(given, said["ingest"]), said["embed"]["result"])


@pytest.fixture
def pods(embedded: tuple[Path, dict[str, Any]], tmp_path: Path) -> Iterator[Pods]:
    """A store of the test's own; no pod outlives the test."""
    shutil.copytree(embedded[0] / "store", tmp_path / "store")
    found = Pods(tmp_path)
    yield found
    found.kill()


@pytest.fixture(scope="module")
def undisturbed(embedded: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training that nobody disturbs."""
    base = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(embedded[0] / "store", base / "store")
    pod = Pods(base).run("train", embedded[1])
    assert pod.process.returncode == 0, pod.log
    return weights(Pods(base), pod.message)


def weights(pods: Pods, message: dict[str, Any]) -> bytes:
    store = DirectoryStore(pods.store)
    final = json.loads(store.get(f"checkpoint/{message['result']['fingerprint']}/index.json"))["final"]
    return store.get(f"checkpoint/{final}/adapter.safetensors")


def has_state(pods: Pods) -> bool:
    """Whether a training has saved its state: events come to the store later, a fast one's when it is nearly done."""
    return any((pods.store / "checkpoint").glob("*-*/index.json"))


def test_a_pod_asked_to_stop_saves_its_state_and_the_next_one_goes_on(
    pods: Pods, embedded: tuple[Path, dict[str, Any]], undisturbed: bytes
) -> None:
    request = embedded[1]
    port, health = free_port(), free_port()
    pod = pods.start("train", request, KUBETUNER_LISTEN=f"127.0.0.1:{port}", KUBETUNER_HEALTH_LISTEN=f"127.0.0.1:{health}")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, grpc.insecure_channel(f"127.0.0.1:{health}") as probes:
        answer = health_pb2_grpc.HealthStub(probes).Check(
            health_pb2.HealthCheckRequest(service="kubetuner.v1alpha1.TrainService"), timeout=SECONDS, wait_for_ready=True
        )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        until(lambda: has_state(pods))
        watching = job_service_pb2_grpc.JobServiceStub(channel).WatchJob(
            job_service_pb2.WatchJobRequest(name="run-train-1"), timeout=SECONDS
        )
        assert next(watching).event.state == JobState.JOB_STATE_PENDING
        pod.process.send_signal(signal.SIGTERM)
        assert [answer.event.state for answer in watching][-1] == JobState.JOB_STATE_INTERRUPTED  # the watcher is told before the end
    assert pod.wait() == 143, pod.log
    first = pod.message
    assert first["state"] == "INTERRUPTED"
    assert 5 <= first["work"]["stepsTrained"] < STEPS
    pod = pods.run("train", {**request, "requestId": "run-train-2", "attempt": 2})
    assert pod.process.returncode == 0, pod.log
    assert pod.message["work"]["stepsTrained"] == STEPS - first["work"]["stepsTrained"]
    assert weights(pods, pod.message) == undisturbed


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_pod_asked_to_stop_as_it_starts_begins_nothing(pods: Pods, embedded: tuple[Path, dict[str, Any]], processes: str) -> None:
    place = {"PET_NPROC_PER_NODE": processes, "PET_MASTER_PORT": str(free_port())}
    pod = pods.start("train", embedded[1], **place)
    until(lambda: heeds(pod.process.pid, signal.SIGTERM))
    pod.process.send_signal(signal.SIGTERM)
    assert pod.wait() == 143, pod.log
    assert (pod.message["state"], pod.message["work"]) == ("INTERRUPTED", {})


def test_the_same_request_goes_on_too_and_its_events_count_on(
    pods: Pods, embedded: tuple[Path, dict[str, Any]], undisturbed: bytes
) -> None:
    pod = pods.start("train", embedded[1])
    until(lambda: has_state(pods))
    pod.process.kill()
    pod.wait()
    pod = pods.run("train", embedded[1])
    assert pod.process.returncode == 0, pod.log
    assert weights(pods, pod.message) == undisturbed
    store = DirectoryStore(pods.store)
    rows = [row for info in store.list("jobs/run-train-1/events/") for row in json.loads(store.get(info.key))]
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["state"] for row in rows if "state" in row][-1] == "JOB_STATE_SUCCEEDED"


@pytest.mark.parametrize(("nodes", "per_node"), [(2, 1), (1, 2)])
def test_several_processes_train_what_one_trains(
    pods: Pods, embedded: tuple[Path, dict[str, Any]], undisturbed: bytes, nodes: int, per_node: int
) -> None:
    """As an Indexed Job's pods: torchrun's variables, and the index of each."""
    place = {
        "PET_NNODES": str(nodes),
        "PET_NPROC_PER_NODE": str(per_node),
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(free_port()),
    }
    found = [pods.start("train", embedded[1], JOB_COMPLETION_INDEX=str(node), **place) for node in range(nodes)]
    for pod in found:
        assert pod.wait() == 0, pod.log
    assert all(pod.message["result"] == found[0].message["result"] for pod in found)
    assert found[0].message["work"] == {"stepsTrained": STEPS}
    ours, theirs = load(weights(pods, found[0].message)), load(undisturbed)
    moved = max(float(tensor.abs().max()) for tensor in theirs.values())
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) <= 1e-3 * moved


def test_one_pod_of_several_asked_to_stop_stops_all_with_the_state_saved(pods: Pods, embedded: tuple[Path, dict[str, Any]]) -> None:
    place = {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(free_port())}
    found = [pods.start("train", embedded[1], JOB_COMPLETION_INDEX=str(node), **place) for node in range(2)]
    until(lambda: has_state(pods))
    found[1].process.send_signal(signal.SIGTERM)
    for pod in found:
        assert pod.wait() == 143, pod.log
        assert pod.message["state"] == "INTERRUPTED"
    pod = pods.run("train", {**embedded[1], "requestId": "run-train-2", "attempt": 2})
    assert pod.message["work"]["stepsTrained"] == STEPS - found[0].message["work"]["stepsTrained"]


def test_where_one_pod_of_several_is_killed_the_others_fail_soon_and_another_attempt_goes_on(
    pods: Pods, embedded: tuple[Path, dict[str, Any]]
) -> None:
    place = {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(free_port())}
    request = json.loads(json.dumps(embedded[1]))
    request["spec"]["train"]["maxSteps"] = 500
    found = [pods.start("train", request, JOB_COMPLETION_INDEX=str(node), **place) for node in range(2)]
    until(lambda: has_state(pods))
    found[1].process.kill()
    found[1].wait()
    assert found[0].wait() == 1, found[0].log
    assert found[0].message["error"]["retryable"]
    assert "another process of this training is gone" in found[0].message["error"]["message"]
    assert list((pods.store / "checkpoint").glob("*-*/index.json")), "a state to go on from"


@pytest.mark.parametrize("node", [0, 1])
def test_a_pod_that_waits_for_the_others_ends_when_it_is_asked_to(pods: Pods, embedded: tuple[Path, dict[str, Any]], node: int) -> None:
    place = {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(free_port())}
    pod = pods.start("train", embedded[1], JOB_COMPLETION_INDEX=str(node), **place)
    until(lambda: "waits for the other processes" in pod.log)
    pod.process.send_signal(signal.SIGTERM)
    assert pod.wait() == 143, pod.log
    assert pod.message["state"] == "INTERRUPTED"


WRONG: dict[str, Any] = {"id": "photographs", "source": {"uri": "photographs"}, "crop": True, "cropAspect": "sqare"}


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (a_request("ingest", spec(datasets=[WRONG])), ["spec.datasets[0].cropAspect"]),
        (a_request("ingest", spec(datasets=[{"id": "a", "source": {"uri": "nothing-here"}}])), ["spec.datasets[0].source.uri"]),
        ("{", None),
        (json.dumps({"spec": spec(), "unknown": 1}), None),
    ],
)
def test_a_pod_that_is_given_what_is_wrong_ends_with_two_and_says_where(
    tmp_path: Path, tiny_sdxl: Path, request_: dict[str, Any] | str, fields: list[str] | None
) -> None:
    furnish(tmp_path, tiny_sdxl)
    pod = Pods(tmp_path).run("ingest", request_)
    assert pod.process.returncode == 2, pod.log
    error = pod.message["error"]
    assert (pod.message["state"], error["reason"], error["retryable"]) == ("FAILED", "INPUT_INVALID", False)
    if fields is None:
        assert "request.json" in error["message"]
    else:
        assert [row["field"] for row in error["violations"]] == fields
        job = json.loads((tmp_path / "store/jobs/run-ingest-1/job.json").read_text())
        assert job["state"] == "JOB_STATE_FAILED"
        assert [row["field"] for row in job["error"]["violations"]] == fields


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"KUBETUNER_STORE": ""}, "KUBETUNER_STORE"),
        ({"KUBETUNER_TLS_CERT": "/nowhere/tls.crt"}, "KUBETUNER_TLS_KEY"),
        ({"KUBETUNER_REFLECTION": "perhaps"}, "KUBETUNER_REFLECTION"),
        ({"JOB_COMPLETION_INDEX": "-1"}, "JOB_COMPLETION_INDEX"),
        ({"KUBETUNER_LOG_LEVEL": "loud"}, "KUBETUNER_LOG_LEVEL"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variables: dict[str, str], named: str) -> None:
    pod = Pods(tmp_path).run("ingest", a_request("ingest", spec()), **variables)
    assert pod.process.returncode == 2
    assert named in pod.lines[-1]["error"]


def test_a_standing_server_ends_well_when_it_is_asked_to(tmp_path: Path) -> None:
    health = free_port()
    pod = Pods(tmp_path).start("ingest", "", KUBETUNER_REQUEST="", KUBETUNER_HEALTH_LISTEN=f"127.0.0.1:{health}")
    with grpc.insecure_channel(f"127.0.0.1:{health}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS, wait_for_ready=True)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    pod.process.send_signal(signal.SIGTERM)
    assert pod.wait() == 0, pod.log
