"""Pods that share a stage: together they do the whole, each part once, and end with what one alone would make."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import Share, StageContext
from kubetuner.errors import SpecErrors
from kubetuner.ingest.core.run import run as ingest
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage import ObjectStore
from kubetuner.storage.directory import DirectoryStore
from kubetuner.storage.memory import MemoryStore
from tests.builders import photographs, run_document
from tests.rpc.flows import Pods, a_request, as_controller, furnish, spec

COUNT = 3


@pytest.fixture
def base(tmp_path: Path) -> Path:
    photographs(tmp_path / "photographs", [(64, 64)] * 31)
    return tmp_path


def context(base: Path, store: ObjectStore, index: int, name: str = "run-ingest-1", count: int = COUNT) -> StageContext:
    return StageContext(store=store, base=base, device="cpu", cancelled=threading.Event(), share=Share(index=index, count=count, name=name))


def alone(base: Path) -> ArtifactRef:
    return ingest(resolve(parse_run(run_document())).spec, None, StageContext(store=MemoryStore(), base=base))


def test_three_processes_read_every_picture_once_and_agree_with_one(base: Path) -> None:
    store, run = MemoryStore(), resolve(parse_run(run_document()))
    contexts = [context(base, store, index) for index in range(COUNT)]
    with ThreadPoolExecutor(COUNT) as threads:
        made = list(threads.map(lambda ctx: ingest(run.spec, None, ctx), contexts))
    assert set(made) == {alone(base)}
    assert sum(ctx.work["imagesRead"] for ctx in contexts) == 31
    assert [info.key for info in store.list("jobs/")] == ["jobs/run-ingest-1/shared.json"]
    assert list(store.list("claims/")) == []


def test_one_of_them_finishes_what_the_others_never_begin(base: Path) -> None:
    store, run = MemoryStore(), resolve(parse_run(run_document()))
    ctx = context(base, store, 1)
    assert ingest(run.spec, None, ctx) == alone(base)
    assert ctx.work["imagesRead"] == 31
    late = context(base, store, 0)
    assert ingest(run.spec, None, late) == alone(base)
    assert late.work["imagesRead"] == 0


def test_another_attempt_sees_pictures_that_have_changed(base: Path) -> None:
    store, run = MemoryStore(), resolve(parse_run(run_document()))
    before = ingest(run.spec, None, context(base, store, 0))
    photographs(base / "photographs", [(96, 64)] * 2)
    after = ingest(run.spec, None, context(base, store, 0, "run-ingest-2"))
    assert after == alone(base) != before


def test_pods_of_indexed_jobs_share_ingest_and_embed(tiny_sdxl: Path, tmp_path: Path) -> None:
    furnish(tmp_path, tiny_sdxl, [(64, 64)] * 12)
    given = spec(embed={"vae": {"writeBatchSize": 2}})
    pods = Pods(tmp_path)
    whole = Pods(tmp_path, {"KUBETUNER_STORE": str(tmp_path / "whole")})
    request = a_request("ingest", given)
    one = whole.run("ingest", request)
    found = [pods.start("ingest", {**request, "shard": {"index": 0, "count": 2}}, JOB_COMPLETION_INDEX=str(index)) for index in range(2)]
    for pod in found:
        assert pod.wait() == 0, pod.log
        assert pod.message["result"] == one.message["result"]
    assert {pod.message["job"] for pod in found} == {"run-ingest-1", "run-ingest-1-1"}
    assert sum(pod.message["work"].get("imagesRead", 0) for pod in found) == 12
    [brought] = [pod.message for pod in found if "model" in pod.message]
    assert brought["model"] == one.message["model"]
    request = a_request("embed", as_controller(given, brought), brought["result"])
    one = whole.run("embed", request)
    found = [pods.start("embed", {**request, "shard": {"index": 0, "count": 2}}, JOB_COMPLETION_INDEX=str(index)) for index in range(2)]
    for pod in found:
        assert pod.wait() == 0, pod.log
        assert pod.message["result"] == one.message["result"]
    assert sum(pod.message["work"].get("imagesEncoded", 0) for pod in found) == one.message["work"]["imagesEncoded"] == 12
    index = f"cache/{one.message['result']['fingerprint']}/index.json"
    assert json.loads(DirectoryStore(pods.store).get(index)) == json.loads(DirectoryStore(tmp_path / "whole").get(index))


def test_a_dataset_without_pictures_is_told_as_one_process_tells_it(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    with pytest.raises(SpecErrors, match="holds no pictures"):
        ingest(resolve(parse_run(run_document())).spec, None, context(tmp_path, MemoryStore(), 0))
