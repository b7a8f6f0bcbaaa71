"""One tiny run as `kubetuner run`, as four pods, and through four standing rooms: equal names, equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from kubetuner import flow
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.controller.service_outputs import gather
from kubetuner.embed import server as embed
from kubetuner.evaluate import server as evaluate
from kubetuner.ingest import server as ingest
from kubetuner.rpc.desk import Desk
from kubetuner.rpc.job_service import JobService
from kubetuner.rpc.serve import Server
from kubetuner.rpc.settings import Settings
from kubetuner.rpc.table import Table
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage.directory import DirectoryStore
from kubetuner.storage.memory import MemoryStore
from kubetuner.train import server as train
from kubetuner.v1alpha1 import ingest_service_pb2, ingest_service_pb2_grpc, job_service_pb2, job_service_pb2_grpc
from kubetuner.v1alpha1.job_pb2 import Job, JobState
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec
from tests.builders import run_document
from tests.rpc.flows import Pods, a_request, as_controller, furnish, spec, through
from tests.rpc.rooms import PLAIN
from tests.waiting import SECONDS

KINDS = {"ingest": ingest, "embed": embed, "train": train, "evaluate": evaluate}


@pytest.fixture(scope="module")
def base(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("rooms")
    furnish(found, tiny_sdxl)
    return found


@pytest.fixture(scope="module")
def laptop(base: Path) -> tuple[dict[str, Any], bytes]:
    """The artifacts of `kubetuner run`, and its LoRA."""
    (base / "run.yaml").write_text(json.dumps(run_document()))
    command = ["run", "run.yaml", "--store", "laptop", "--out", "out", "--device", "cpu", "--json"]
    made = Pods(base).command("kubetuner.cli.main", *command)
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout.splitlines()[-1])
    return result["artifacts"], (base / "out" / "diffusers" / "pytorch_lora_weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def pods(base: Path) -> Pods:
    return Pods(base)


@pytest.fixture(scope="module")
def said(pods: Pods) -> dict[str, dict[str, Any]]:
    return through(pods, spec())


def weights(store: DirectoryStore, training: str) -> bytes:
    final = json.loads(store.get(f"checkpoint/{training}/index.json"))["final"]
    return store.get(f"checkpoint/{final}/adapter.safetensors")


def test_four_pods_make_what_one_process_makes(said: dict[str, dict[str, Any]], laptop: tuple[dict[str, Any], bytes], base: Path) -> None:
    artifacts, _ = laptop
    assert {message["result"]["noun"]: message["result"]["fingerprint"] for message in said.values()} == artifacts
    assert weights(DirectoryStore(base / "store"), artifacts["checkpoint"]) == weights(
        DirectoryStore(base / "laptop"), artifacts["checkpoint"]
    )
    assert {name: message["state"] for name, message in said.items()} == dict.fromkeys(KINDS, "SUCCEEDED")
    assert said["train"]["work"] == {"stepsTrained": 2}
    assert said["ingest"]["model"]["noun"] == "model"


def test_pods_leave_their_jobs_and_memos_in_the_store(said: dict[str, dict[str, Any]], base: Path) -> None:
    store = DirectoryStore(base / "store")
    model = ArtifactRef(**said["ingest"]["model"])
    run = resolve(parse_run(run_document()))
    source = None
    for stage in flow.STAGES:
        job = json_format.Parse(store.get(f"jobs/run-{stage.name}-1/job.json"), Job())
        assert job.state == JobState.JOB_STATE_SUCCEEDED
        assert job.result.fingerprint == said[stage.name]["result"]["fingerprint"]
        memo = flow.memo_key(stage.name, run.spec, source, model)
        if stage.name == "ingest":
            assert store.head(memo) is None
        else:
            assert json.loads(store.get(memo)) == said[stage.name]["result"]
        source = ArtifactRef(**said[stage.name]["result"])


def test_the_files_of_four_pods_are_those_of_one_process(
    said: dict[str, dict[str, Any]], laptop: tuple[dict[str, Any], bytes], base: Path
) -> None:
    store = DirectoryStore(base / "store")
    run = run_document()
    run["metadata"] |= {"namespace": "default", "uid": "run"}
    run["status"] = {"phase": "Succeeded", "artifacts": laptop[0]}
    found = gather(store, run)
    here = {path.relative_to(base / "out").as_posix() for path in (base / "out").rglob("*") if path.is_file()}
    assert found.files.keys() == here
    for path in here - {"result.json", "run.resolved.yaml", "report/index.html"}:  # these tell times and addresses
        assert store.get(found.files[path].key) == (base / "out" / path).read_bytes(), path
    result, there = json.loads(found.made["result.json"]), json.loads((base / "out" / "result.json").read_text())
    assert result["seconds"].keys() == there["seconds"].keys()
    assert {**result, "seconds": {}} == {**there, "seconds": {}}


def test_a_pod_that_comes_again_does_nothing_again(said: dict[str, dict[str, Any]], pods: Pods) -> None:
    request = a_request("train", as_controller(spec(), said["ingest"]), said["embed"]["result"])
    pod = pods.run("train", request)
    assert pod.process.returncode == 0, pod.log
    assert pod.message == said["train"]
    pod = pods.run("train", {**request, "requestId": "run-train-2", "attempt": 2})
    assert pod.message["result"] == said["train"]["result"]
    assert pod.message["work"] == {}


def test_every_line_of_a_pod_names_run_stage_and_attempt(said: dict[str, dict[str, Any]], pods: Pods) -> None:
    pod = pods.run("train", a_request("train", as_controller(spec(), said["ingest"]), said["embed"]["result"]))
    lines = [line for line in pod.lines if line["event"] != "begin"]
    assert lines
    for line in lines:
        assert (line["run"], line["stage"], line["attempt"]) == ("default/tiny", "train", 1), line
        assert {"level", "timestamp", "event"} <= line.keys()


@pytest.fixture(scope="module")
def rooms(base: Path) -> Iterator[dict[str, grpc.Channel]]:
    """Four standing rooms on a store of their own."""
    store = MemoryStore()
    settings = Settings(store="memory:", device="cpu", listening=PLAIN)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        channels = {}
        for name, module in KINDS.items():
            room, desk = module.open_room(settings, store), Desk(Table(store))
            server = stack.enter_context(Server(PLAIN, [*module.services(room, desk), JobService(name, desk).service()]))
            stack.callback(desk.stop)
            channels[name] = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.port}"))
        yield channels


def call(channel: grpc.Channel, stage: str, request: dict[str, Any]) -> Job:
    """Start a stage and follow it to its end."""
    pb = KINDS[stage].pb
    message = json_format.ParseDict(request, getattr(pb, f"Start{stage.capitalize()}Request")())
    stubs = __import__(f"kubetuner.v1alpha1.{stage}_service_pb2_grpc", fromlist=["*"])
    start = getattr(getattr(stubs, f"{stage.capitalize()}ServiceStub")(channel), f"Start{stage.capitalize()}")
    name = start(message, timeout=SECONDS).job.name
    jobs = job_service_pb2_grpc.JobServiceStub(channel)
    for _ in jobs.WatchJob(job_service_pb2.WatchJobRequest(name=name), timeout=180.0):
        pass
    job = jobs.GetJob(job_service_pb2.GetJobRequest(name=name), timeout=SECONDS).job
    assert job.state == JobState.JOB_STATE_SUCCEEDED, job.error
    return job


def test_four_standing_rooms_make_it_too(rooms: dict[str, grpc.Channel], laptop: tuple[dict[str, Any], bytes]) -> None:
    made: dict[str, str] = {}
    source: dict[str, str] | None = None
    for stage, channel in rooms.items():
        request = a_request(stage, spec(), source)
        del request["requestId"]
        job = call(channel, stage, request)
        source = {"noun": job.result.noun, "fingerprint": job.result.fingerprint}
        made[job.result.noun] = job.result.fingerprint
    assert made == laptop[0]


def test_the_dry_run_counts_every_picture(rooms: dict[str, grpc.Channel]) -> None:
    request = ingest_service_pb2.InspectDatasetsRequest(spec=json_format.ParseDict(spec(), TrainingRunSpec()))
    stub = ingest_service_pb2_grpc.IngestServiceStub(rooms["ingest"])
    *progress, last = stub.InspectDatasets(request, timeout=SECONDS)
    assert progress[-1].progress.done == 6
    assert last.inspection.datasets[0].images == 6
    assert last.inspection.steps == 2
