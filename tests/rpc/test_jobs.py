"""Jobs over a real port: started once, watched from any number, cancelled, listed, and still there when their server is gone."""

import itertools
import threading
from pathlib import Path

import grpc
import pytest

from kubetuner.errors import DataError, KubeTunerError, SpecError, SpecErrors, TrainingError
from kubetuner.rpc import errors
from kubetuner.rpc.errors import Refused
from kubetuner.rpc.table import CHUNK, Table
from kubetuner.storage import Content, ObjectStore
from kubetuner.storage.directory import DirectoryStore
from kubetuner.storage.memory import MemoryStore
from kubetuner.v1alpha1 import job_service_pb2
from kubetuner.v1alpha1.job_pb2 import JobEvent, JobState
from tests.rpc.rooms import MANIFEST, Failing, Slow, a_spec, serving
from tests.waiting import SECONDS, until


def numbers(events: list[JobEvent]) -> list[int]:
    return [event.sequence for event in events]


def refusal(error: grpc.RpcError) -> KubeTunerError:
    return errors.explain(error)


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return MemoryStore() if request.param == "memory" else DirectoryStore(tmp_path)


def test_a_job_is_followed_from_its_start_to_its_result(store: ObjectStore) -> None:
    stage = Slow()
    with serving(store, stage) as client:
        job = client.start(request_id="a-1", run="default/tiny", attempt=2)
        assert (job.name, job.state, job.run, job.attempt) == ("a-1", JobState.JOB_STATE_PENDING, "default/tiny", 2)
        stage.finish()
        events = list(client.watch("a-1"))
        assert numbers(events) == list(range(1, len(events) + 1))
        assert [event.state for event in events if event.WhichOneof("event") == "state"] == [
            JobState.JOB_STATE_PENDING, JobState.JOB_STATE_RUNNING, JobState.JOB_STATE_SUCCEEDED,
        ]  # fmt: skip
        assert [event.note for event in events if event.note] == ["image 0", "image 1", "image 2"]
        assert events[-2].result.fingerprint == MANIFEST.fingerprint
        done = client.get("a-1")
        assert done.state == JobState.JOB_STATE_SUCCEEDED
        assert dict(done.work) == {"imagesRead": 3}
        assert (done.progress.done, done.progress.total, done.progress.unit) == (3, 3, "images")
        assert done.progress.figures["loss"] == 2.0
        assert done.sequence == len(events)
        assert done.end_time.ToNanoseconds() >= done.start_time.ToNanoseconds() >= done.create_time.ToNanoseconds() > 0


def test_a_watch_goes_on_at_a_number_after_the_server_was_started_again(store: ObjectStore) -> None:
    stage = Slow(units=6)
    with serving(store, stage) as client:
        client.start(request_id="a-1")
        stage.let.release(2)
        seen = list(itertools.islice(client.watch("a-1"), 4))
    assert Table(store).find("a-1").state == JobState.JOB_STATE_INTERRUPTED  # the server was asked to end
    with serving(store, stage) as client:
        assert client.start(request_id="a-1").state == JobState.JOB_STATE_PENDING
        stage.finish()
        later = list(client.watch("a-1", seen[-1].sequence + 1))
        assert numbers(seen + later) == list(range(1, len(seen) + len(later) + 1))
        assert later[-1].state == JobState.JOB_STATE_SUCCEEDED
        assert list(client.watch("a-1")) == seen + later  # a number means the same for ever


def test_events_past_one_object_are_read_across_all(store: ObjectStore) -> None:
    stage = Slow(units=CHUNK)
    with serving(store, stage) as client:
        client.start(request_id="a-1")
        stage.finish()
        events = list(client.watch("a-1"))
        assert len(events) > CHUNK
        assert list(client.watch("a-1", 3)) == events[2:]
        assert list(client.watch("a-1", CHUNK + 2)) == events[CHUNK + 1 :]
    assert len(Table(store).firsts("a-1")) == 2


def test_a_watch_past_the_newest_event_is_out_of_range(store: ObjectStore) -> None:
    stage = Slow()
    with serving(store, stage) as client:
        client.start(request_id="a-1")
        stage.finish()
        newest = client.ended("a-1").sequence
        assert list(client.watch("a-1", newest + 1)) == []
        with pytest.raises(grpc.RpcError) as caught:
            list(client.watch("a-1", newest + 2))
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert f"start at {newest + 1}" in caught.value.details()


def test_the_same_request_again_starts_nothing_twice(store: ObjectStore) -> None:
    stage = Slow()
    with serving(store, stage) as client:
        first = client.start(request_id="a-1")
        assert client.start(request_id="a-1").name == first.name
        stage.finish()
        client.ended("a-1")
        assert client.start(request_id="a-1").state == JobState.JOB_STATE_SUCCEEDED
        assert stage.begun == 1


def test_a_job_whose_result_has_gone_from_the_store_is_done_again() -> None:
    stage, store = Slow(), MemoryStore()
    with serving(store, stage) as client:
        stage.finish()
        client.start(request_id="a-1")
        client.ended("a-1")
        store.delete(MANIFEST.key("index.json"))
        stage.finish()
        client.start(request_id="a-1")
        assert client.ended("a-1").state == JobState.JOB_STATE_SUCCEEDED
        assert stage.begun == 2


def test_a_name_that_stands_for_another_request_is_refused() -> None:
    with serving(MemoryStore(), Slow()) as client:
        client.start(request_id="a-1")
        with pytest.raises(grpc.RpcError) as caught:
            client.start(a_spec(seed=7), request_id="a-1")
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert refusal(caught.value).reason == "REQUEST_ID_REUSED"


def test_requests_without_an_id_are_named_by_what_they_hold() -> None:
    with serving(MemoryStore(), Slow()) as client:
        names = [client.start().name, client.start().name, client.start(a_spec(seed=7)).name]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("ingest-")


def test_a_cancelled_job_saves_and_stops(store: ObjectStore) -> None:
    stage = Slow()
    with serving(store, stage) as client:
        client.start(request_id="a-1")
        stage.let.release()
        list(itertools.islice(client.watch("a-1"), 3))
        client.cancel("a-1")
        job = client.ended("a-1")
        assert job.state == JobState.JOB_STATE_CANCELLED
        assert dict(job.work) == {"imagesRead": 1}
        assert client.cancel("a-1").state == JobState.JOB_STATE_CANCELLED  # and stays as it is
        client.start(request_id="a-1")
        stage.finish()
        assert client.ended("a-1").state == JobState.JOB_STATE_SUCCEEDED


def test_a_waiting_job_can_be_cancelled_and_never_begins() -> None:
    stage = Slow()
    with serving(MemoryStore(), stage) as client:
        client.start(request_id="a-1")
        client.start(request_id="a-2")
        client.cancel("a-2")
        stage.finish()
        assert client.ended("a-1").state == JobState.JOB_STATE_SUCCEEDED
        assert client.ended("a-2").state == JobState.JOB_STATE_CANCELLED
    assert stage.begun == 1


def test_two_servers_on_one_store_do_a_job_once_and_both_tell_of_it(store: ObjectStore) -> None:
    stage, other = Slow(), Slow()
    with serving(store, stage) as here, serving(store, other) as there:
        here.start(request_id="a-1")
        list(itertools.islice(here.watch("a-1"), 2))
        assert there.start(request_id="a-1").state == JobState.JOB_STATE_RUNNING
        watching = there.watch("a-1")
        stage.finish()
        assert list(watching)[-1].state == JobState.JOB_STATE_SUCCEEDED
        assert there.get("a-1") == here.ended("a-1")  # which shows the end a moment after the store has it
        until(lambda: not any(thread.name == "events a-1" for thread in threading.enumerate()))  # nobody looks after it any more
    assert other.begun == 0


def test_a_job_is_cancelled_through_a_server_that_does_not_do_it(store: ObjectStore) -> None:
    with serving(store, Slow()) as here, serving(store, Slow()) as there:
        here.start(request_id="a-1")
        list(itertools.islice(here.watch("a-1"), 2))
        there.cancel("a-1")
        assert here.ended("a-1").state == JobState.JOB_STATE_CANCELLED


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (SpecErrors([SpecError("spec.datasets[0].source.uri", "holds no pictures")]), "INPUT_INVALID", False),
        (DataError("cat.png: damaged"), "DATA_INVALID", False),
        (TrainingError("the loss of step 3 is nan"), "LOSS_NOT_FINITE", False),
        (KubeTunerError("out of memory: 3 GiB; lower train.batchSize"), "DEVICE_MEMORY_EXHAUSTED", False),
        (KubeTunerError("the store is away"), "FAILED", True),
        (RuntimeError("a fault of ours"), "INTERNAL", True),
    ],
)
def test_a_failed_job_says_why_and_goes_on_when_asked_again(error: Exception, reason: str, retryable: bool) -> None:
    with serving(MemoryStore(), Failing(error)) as client:
        client.start(request_id="a-1")
        job = client.ended("a-1")
        assert job.state == JobState.JOB_STATE_FAILED
        assert (job.error.reason, job.error.retryable) == (reason, retryable)
        assert str(error) in job.error.message
        assert [row.field for row in job.error.violations] == (["spec.datasets[0].source.uri"] if isinstance(error, SpecErrors) else [])
        client.start(request_id="a-1")
        job = client.ended("a-1")
        assert job.state == JobState.JOB_STATE_SUCCEEDED
        assert not job.HasField("error")


def test_jobs_are_listed_newest_first_in_pages() -> None:
    stage = Slow(units=0)
    with serving(MemoryStore(), stage) as client:
        for number in range(5):
            client.start(request_id=f"a-{number}")
            client.ended(f"a-{number}")
        found: list[str] = []
        token = ""
        while True:
            page = client.jobs.ListJobs(job_service_pb2.ListJobsRequest(page_size=2, page_token=token), timeout=SECONDS)
            assert len(page.jobs) <= 2
            found += [job.name for job in page.jobs]
            token = page.next_page_token
            if not token:
                break
        assert found == [f"a-{number}" for number in reversed(range(5))]
        with pytest.raises(grpc.RpcError) as caught:
            client.jobs.ListJobs(job_service_pb2.ListJobsRequest(page_token="x"), timeout=SECONDS)
        assert refusal(caught.value).violations.keys() == {"pageToken"}


def test_a_job_that_is_not_there_is_not_found() -> None:
    with serving(MemoryStore(), Slow()) as client, pytest.raises(grpc.RpcError) as caught:
        client.get("nobody")
    assert isinstance(refusal(caught.value), Refused)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


class Away(MemoryStore):
    """A store that refuses to take events while it is away."""

    is_away = False
    refused = 0

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        if self.is_away and key.startswith("jobs/"):
            self.refused += 1
            raise KubeTunerError("the store is away")
        return super().put(key, data, replace=replace, durable=durable)


def test_a_store_that_is_away_holds_back_events_and_not_the_work() -> None:
    stage, store = Slow(units=4), Away()
    with serving(store, stage) as client:
        client.start(request_id="a-1")
        list(itertools.islice(client.watch("a-1"), 2))
        store.is_away = True
        stage.let.release(3)
        until(lambda: stage.done == 3)
        until(lambda: store.refused > 0)
        store.is_away = False
        stage.let.release()
        events = list(client.watch("a-1"))
        assert numbers(events) == list(range(1, len(events) + 1))
        assert [event.note for event in events if event.note] == [f"image {number}" for number in range(4)]
