"""What a pod leaves behind: its termination message, its exit code, its log."""

import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kubetuner import log
from kubetuner.rpc import pod
from kubetuner.v1alpha1.artifact_pb2 import Artifact
from kubetuner.v1alpha1.job_pb2 import FieldViolation, Job, JobError, JobState

RESULT = Artifact(noun="cache", fingerprint="a" * 40)


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (Job(state=JobState.JOB_STATE_SUCCEEDED), 0),
        (Job(state=JobState.JOB_STATE_INTERRUPTED), 143),
        (Job(state=JobState.JOB_STATE_CANCELLED), 143),
        (Job(state=JobState.JOB_STATE_FAILED, error=JobError(reason="INPUT_INVALID")), 2),
        (Job(state=JobState.JOB_STATE_FAILED, error=JobError(reason="DATA_INVALID")), 2),
        (Job(state=JobState.JOB_STATE_FAILED, error=JobError(reason="LOSS_NOT_FINITE")), 1),
        (Job(state=JobState.JOB_STATE_FAILED, error=JobError(reason="INTERNAL", retryable=True)), 1),
    ],
)
def test_an_end_has_its_exit_code(job: Job, code: int) -> None:
    assert pod.exit_code(job) == code


def test_a_message_tells_what_was_made() -> None:
    job = Job(name="a-1", state=JobState.JOB_STATE_SUCCEEDED, result=RESULT, work={"imagesEncoded": 3})
    job.model.CopyFrom(Artifact(noun="model", fingerprint="b" * 40))
    assert json.loads(pod.message(job)) == {
        "job": "a-1",
        "state": "SUCCEEDED",
        "work": {"imagesEncoded": 3},
        "result": {"noun": "cache", "fingerprint": "a" * 40},
        "model": {"noun": "model", "fingerprint": "b" * 40},
    }


@pytest.mark.parametrize(("violations", "length"), [(0, 0), (3, 100), (1000, 50), (1, 6000), (1000, 9000)])
def test_a_message_fits_four_kibibytes_and_keeps_the_reason(violations: int, length: int) -> None:
    rows = [FieldViolation(field=f"spec.datasets[{number}]", description="é" * 100) for number in range(violations)]
    error = JobError(reason="INPUT_INVALID", message="ü" * length, violations=rows)
    data = pod.message(Job(name="a-1", state=JobState.JOB_STATE_FAILED, error=error))
    assert len(data) <= 4096
    found = json.loads(data)["error"]
    assert found["reason"] == "INPUT_INVALID"
    assert found["retryable"] is False
    assert violations == 0 or length > 3000 or found["violations"]
    if length <= 100 and violations <= 3:
        assert found["message"] == error.message
        assert len(found.get("violations", [])) == violations


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    found, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level
    log.configure("info", out=found)
    yield found
    root.handlers[:], root.level = before
    log.forget()


def test_every_line_is_json_and_says_what_the_process_is_about(out: io.StringIO) -> None:
    log.about(run="default/tiny", stage="train", attempt=2)
    log.get("a").info("step", loss=0.5)
    logging.getLogger("somebody.else").warning("old %s", "words")
    log.get("a").debug("not told")
    try:
        raise ValueError("ü")
    except ValueError:
        log.get("a").exception("fault")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["step", "old words", "fault"]
    assert all((line["run"], line["stage"], line["attempt"]) == ("default/tiny", "train", 2) for line in lines)
    assert (lines[0]["loss"], lines[0]["level"]) == (0.5, "info")
    assert "ValueError: ü" in lines[2]["exception"]


@contextmanager
def nobody() -> Iterator[None]:
    """Rights are looked up as a pod's user has them, also where the tests run as root."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65532, 0, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize(("is_there", "mode", "written"), [(True, 0o666, True), (True, 0o444, False), (False, 0, False)])
def test_a_message_is_written_where_the_file_may_be_written_and_its_folder_may_not(is_there: bool, mode: int, written: bool) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "termination-log"
        if is_there:
            path.touch()
            path.chmod(mode)
        Path(name).chmod(0o555)
        with nobody():
            pod._write(path, b"{}")
        assert (path.exists() and path.read_bytes() == b"{}") == written
        Path(name).chmod(0o755)
