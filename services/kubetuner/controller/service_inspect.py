"""The dry run over gRPC: a process of its own for each, few at a time, ended with the call that asked for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import json_format

from kubetuner import log
from kubetuner.errors import InputError, KubeTunerError, SpecError, SpecErrors
from kubetuner.rpc.errors import Refused
from kubetuner.spec.resolve import resolve, to_json
from kubetuner.v1alpha1.job_pb2 import JobError
from kubetuner.v1alpha1.run_service_pb2 import InspectRunResponse
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

_COMMAND: Final = ("-m", "kubetuner.ingest.inspection")
_MOST: Final = 1
_WAITING: Final = 8
_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_NO_LIMIT: Final = 1 << 60
_LONGEST_LINE: Final = 16 << 20
_SEEN: Final = ("s3://", "store:")
_logger = log.get(__name__)


class Inspections:
    """Looks at runs' data."""

    def __init__(self, store: str, *, seconds: float = 3600.0, environment: Mapping[str, str] = os.environ) -> None:
        """`store` is the address of the runs' own store; `seconds` is the longest that one may take."""
        self._environment = {**environment, "KUBETUNER_STORE": store, "KUBETUNER_INSPECT_BYTES": str(_share(_LIMITS))}
        self._seconds = seconds
        self._places = asyncio.Semaphore(_MOST)
        self._asked = 0

    async def look(self, run: TrainingRun) -> AsyncIterator[InspectRunResponse]:
        """Progress first, the finding last."""
        resolved = resolve(run)
        check(resolved)
        if self._asked >= _WAITING:
            words = "too many dry runs are under way here; ask again later, or run `kubetuner inspect`"
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_INSPECTIONS", words, retry_seconds=30.0)
        self._asked += 1
        try:
            async with self._places:
                async for answer in self._in_process(resolved):
                    yield answer
        finally:
            self._asked -= 1

    async def _in_process(self, run: TrainingRun) -> AsyncIterator[InspectRunResponse]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            env=self._environment,
            start_new_session=True,
        )
        assert process.stdin is not None, "a pipe was asked for"
        assert process.stdout is not None, "a pipe was asked for"
        try:
            process.stdin.write(json.dumps(to_json(run)).encode())
            process.stdin.close()
            ends = asyncio.get_running_loop().time() + self._seconds
            found = False
            while line := await asyncio.wait_for(process.stdout.readline(), ends - asyncio.get_running_loop().time()):
                answer = _answer(json.loads(line))
                found = found or answer.HasField("inspection")
                yield answer
            code = await process.wait()
            if not found:
                _logger.error("dry run failed", code=code)
                words = (
                    "the dry run ended without a finding; the controller's log says why, and `kubetuner inspect` does the same elsewhere"
                )
                raise Refused(grpc.StatusCode.UNAVAILABLE, "INSPECTION_FAILED", words, retry_seconds=30.0)
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with any that it decodes in
                await asyncio.shield(process.wait())


def _share(files: Iterable[Path]) -> int:
    """Bytes that a dry run may take of this container's memory; 0 where it has no limit."""
    for file in files:
        try:
            text = file.read_text("ascii").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _NO_LIMIT:
            return int(text) * 3 // 4
    return 0


def check(run: TrainingRun) -> None:
    """Raise SpecErrors where a source cannot be seen from the controller, which mounts nothing and reads no Secrets."""
    wrong = []
    for number, dataset in enumerate(run.spec.datasets):
        if dataset.disabled:
            continue
        place = f"spec.datasets[{number}].source"
        if not dataset.source.uri.startswith(_SEEN):
            words = (
                f"{dataset.source.uri!r} cannot be seen from the controller; give s3:// or store:, or run `kubetuner inspect` where it is"
            )
            wrong.append(SpecError(f"{place}.uri", words))
        elif dataset.source.secret:
            words = "sources with a Secret are seen by the run's own pods only; run `kubetuner inspect` where the keys are"
            wrong.append(SpecError(f"{place}.secret", words))
    if wrong:
        raise SpecErrors(wrong)
    if not run.spec.model.path.startswith(_SEEN):
        run.spec.model.ClearField("path")  # a path of the user's, not of this machine; captions are counted by the flavour's vocabulary


def _answer(row: dict[str, Any]) -> InspectRunResponse:
    if "error" in row:
        raise _failure(json_format.ParseDict(row["error"], JobError()))
    return json_format.ParseDict(row, InspectRunResponse())


def _failure(error: JobError) -> KubeTunerError:
    if error.violations:
        return SpecErrors([SpecError(row.field, row.description) for row in error.violations])
    if error.retryable:
        return Refused(grpc.StatusCode.UNAVAILABLE, error.reason, error.message, retry_seconds=10.0)
    return InputError(error.message)
