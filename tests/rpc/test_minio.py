"""Jobs on a real object server: followed through its restart, and a whole pod that lives on it alone."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from kubetuner.v1alpha1.job_pb2 import JobState
from tests.minio.server import Server
from tests.rpc.flows import Pods, a_request, furnish, spec
from tests.rpc.rooms import Slow, serving

pytestmark = pytest.mark.needs("minio")


def test_a_job_is_followed_while_its_store_is_gone_for_a_while(minio: Server) -> None:
    stage = Slow(units=6)
    with serving(minio.store(), stage) as client:
        client.start(request_id="a-1")
        stage.let.release(2)
        seen = list(itertools.islice(client.watch("a-1"), 4))
        minio.kill()
        stage.let.release(2)
        minio.start()
        stage.finish()
        later = list(client.watch("a-1", seen[-1].sequence + 1))
    numbers = [event.sequence for event in seen + later]
    assert numbers == list(range(1, len(numbers) + 1))
    assert later[-1].state == JobState.JOB_STATE_SUCCEEDED
    assert [event.note for event in seen + later if event.note] == [f"image {number}" for number in range(6)]


def test_servers_on_one_bucket_share_jobs(minio: Server) -> None:
    bucket = minio.bucket()
    stage = Slow()
    with serving(minio.store(bucket), stage) as here, serving(minio.store(bucket), Slow()) as there:
        here.start(request_id="a-1")
        list(itertools.islice(here.watch("a-1"), 2))
        there.cancel("a-1")
        assert there.ended("a-1").state == JobState.JOB_STATE_CANCELLED
        assert here.ended("a-1") == there.get("a-1")


def test_a_pod_lives_on_a_bucket_alone(minio: Server, tiny_sdxl: Path, tmp_path: Path) -> None:
    furnish(tmp_path, tiny_sdxl)
    bucket = minio.bucket()
    pods = Pods(tmp_path, {**minio.environment, "KUBETUNER_STORE": f"s3://{bucket}/runs"})
    there, here = pods.run("ingest", a_request("ingest", spec())), Pods(tmp_path).run("ingest", a_request("ingest", spec()))
    assert there.process.returncode == 0, there.log
    assert there.message == here.message
    assert minio.store(bucket, "runs").head("jobs/run-ingest-1/job.json") is not None
    (tmp_path / "photographs" / "another.png").write_bytes((tmp_path / "photographs" / "a_red_picture_000.png").read_bytes())
    again = pods.run("ingest", a_request("ingest", spec(), requestId="run-ingest-2", attempt=2))
    assert again.message["work"].get("modelFilesBrought", 0) == 0
    assert again.message["model"] == there.message["model"]
    assert again.message["result"] != there.message["result"]
