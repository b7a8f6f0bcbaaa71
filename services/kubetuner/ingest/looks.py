"""InspectDatasets with a process for each look, and the program that serves nothing else.

    python -m kubetuner.ingest.looks     beside the controller, on a socket that both containers mount (KUBETUNER_LISTEN=unix:/...)

Other people's pictures take memory and time that a server has not. A look has one core, three quarters of the container's memory and an
hour, and ends with the call that asked for it. Until one is asked for, nothing of what decodes is loaded.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import grpc
from google.protobuf import json_format

from kubetuner import log
from kubetuner.errors import InputError, KubeTunerError, SpecError, SpecErrors
from kubetuner.rpc import settings as settings_
from kubetuner.rpc.errors import Refused
from kubetuner.rpc.serve import Server, Service
from kubetuner.rpc.signals import Signals
from kubetuner.spec.resolve import resolve_spec, to_json
from kubetuner.v1alpha1 import ingest_service_pb2 as pb
from kubetuner.v1alpha1 import ingest_service_pb2_grpc
from kubetuner.v1alpha1.job_pb2 import JobError
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

NAME: Final = pb.DESCRIPTOR.services_by_name["IngestService"].full_name
_COMMAND: Final = (sys.executable, "-m", "kubetuner.ingest.inspection")
_MOST: Final = 9
_PAUSE: Final = 0.5
_LONGEST: Final = 3600.0
_LONGEST_LINE: Final = 16 << 20
_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_NO_LIMIT: Final = 1 << 60
_logger = log.get(__name__)


class Looks(ingest_service_pb2_grpc.IngestServiceServicer):
    """Looks at runs' data: at one run at a time, in the order in which they were asked for, since a look takes most of the memory."""

    def __init__(self, store: str, *, seconds: float = _LONGEST, environment: Mapping[str, str] = os.environ) -> None:
        """`store` is the address of the runs' own store; `seconds` is the longest that a look may take."""
        self._environment = {**environment, "KUBETUNER_STORE": store, "KUBETUNER_INSPECT_BYTES": str(_share(_LIMITS))}
        self._seconds = seconds
        self._line: deque[object] = deque()  # the first is looked at
        self._moved = threading.Condition()

    def InspectDatasets(self, request: pb.InspectDatasetsRequest, context: Any) -> Iterator[pb.InspectDatasetsResponse]:
        run = TrainingRun(spec=request.spec)
        resolve_spec(run.spec)
        with self._turn(context) as come:
            if come:
                yield from self._look(run, context)

    @contextmanager
    def _turn(self, context: Any) -> Iterator[bool]:
        """A turn of one's own; False where the caller has gone before it came. Raises Refused where too many wait."""
        own = object()
        with self._moved:
            if len(self._line) >= _MOST:
                words = "too many dry runs are under way here; ask again later, or run `kubetuner inspect`"
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_LOOKS", words, retry_seconds=30.0)
            self._line.append(own)
        try:
            with self._moved:
                while (waits := self._line[0] is not own) and context.is_active():
                    self._moved.wait(_PAUSE)  # that a caller has gone is told by nobody
            yield not waits
        finally:
            with self._moved:
                self._line.remove(own)
                self._moved.notify_all()

    def _look(self, run: TrainingRun, context: Any) -> Iterator[pb.InspectDatasetsResponse]:
        found = False
        with _process(self._environment, self._seconds) as process:
            if not context.add_callback(lambda: _end(process)):
                return
            assert process.stdin is not None, "a pipe was asked for"
            assert process.stdout is not None, "a pipe was asked for"
            with suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(json.dumps(to_json(run)).encode())
            for answer in _answers(process.stdout):
                found = found or answer.HasField("inspection")
                yield answer
            code = process.wait()
        if not found and context.is_active():
            _logger.error("dry run failed", code=code)
            words = "the dry run ended without a finding; the log beside it says why, and `kubetuner inspect` does the same elsewhere"
            raise Refused(grpc.StatusCode.UNAVAILABLE, "INSPECTION_FAILED", words, retry_seconds=30.0)


@contextmanager
def _process(environment: Mapping[str, str], seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks, and that is gone at the end, or after so many seconds."""
    pipe = subprocess.PIPE
    with subprocess.Popen(_COMMAND, stdin=pipe, stdout=pipe, env=environment, start_new_session=True) as process:
        clock = threading.Timer(seconds, lambda: _end(process))
        clock.daemon = True
        clock.start()
        try:
            yield process
        finally:
            clock.cancel()
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)  # does nothing to one that has been waited for


def _answers(out: IO[bytes]) -> Iterator[pb.InspectDatasetsResponse]:
    while (line := out.readline(_LONGEST_LINE)).endswith(b"\n"):  # what is cut off was written by a process that was ended
        row: dict[str, Any] = json.loads(line)
        if "error" in row:
            raise _failure(json_format.ParseDict(row["error"], JobError()))
        yield json_format.ParseDict(row, pb.InspectDatasetsResponse())


def _failure(error: JobError) -> KubeTunerError:
    if error.violations:
        return SpecErrors([SpecError(row.field, row.description) for row in error.violations])
    if error.retryable:
        return Refused(grpc.StatusCode.UNAVAILABLE, error.reason, error.message, retry_seconds=10.0)
    return InputError(error.message)


def _share(files: Iterable[Path]) -> int:
    """Bytes that a look may take of this container's memory; 0 where it has no limit."""
    for file in files:
        try:
            text = file.read_text("ascii").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _NO_LIMIT:
            return int(text) * 3 // 4
    return 0


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Serve dry runs until asked to stop; returns the exit code."""
    signals = Signals()
    try:
        settings = settings_.read(environment)
        log.configure(settings.log_level)
        looks = Looks(settings.store, environment=environment)
        service = Service(name=NAME, add=lambda server: ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(looks, server))
        with Server(settings.listening, [service]):
            signals.wait()
    except KubeTunerError as error:
        log.configure()
        _logger.error("not served", error=str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
