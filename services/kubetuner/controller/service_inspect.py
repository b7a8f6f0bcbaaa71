"""The dry run over gRPC: asked of an ingest server beside the controller, since pictures and tables take more than the controller has."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import grpc

from kubetuner.errors import KubeTunerError, SpecError, SpecErrors
from kubetuner.rpc.errors import Refused, explain
from kubetuner.rpc.serve import MOST_BYTES
from kubetuner.spec.resolve import resolve
from kubetuner.v1alpha1.ingest_service_pb2 import InspectDatasetsRequest, InspectDatasetsResponse
from kubetuner.v1alpha1.ingest_service_pb2_grpc import IngestServiceStub
from kubetuner.v1alpha1.run_service_pb2 import InspectRunResponse
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

_LONGEST: Final = 3600.0
_SEEN: Final = ("s3://", "store:")
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MOST_BYTES), ("grpc.max_send_message_length", MOST_BYTES), ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a server that was away is not shunned for it by the next call
)  # fmt: skip


class Inspections:
    """Looks at runs' data."""

    def __init__(self, address: str, *, seconds: float = _LONGEST) -> None:
        """`address` is that of the server which looks, as unix:/run/kubetuner/inspection.sock; empty where there is none. `seconds` is the
        longest that a caller may wait for its finding."""
        self._address = address
        self._seconds = seconds

    async def look(self, run: TrainingRun, seconds: float | None = None) -> AsyncGenerator[InspectRunResponse, None]:
        """Progress first, the finding last; `seconds` is what the caller has left."""
        resolved = resolve(run)
        check(resolved)
        if not self._address:
            words = "dry runs are switched off here; set inspection.enabled in the chart's values, or run `kubetuner inspect` elsewhere"
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "INSPECTION_OFF", words)
        async with aclosing(self._ask(resolved, min(seconds or self._seconds, self._seconds))) as answers:
            async for answer in answers:
                yield answer

    async def _ask(self, run: TrainingRun, seconds: float) -> AsyncGenerator[InspectRunResponse, None]:
        async with grpc.aio.insecure_channel(self._address, options=_OPTIONS) as channel:
            stub: Any = IngestServiceStub(channel)
            try:
                async for answer in stub.InspectDatasets(InspectDatasetsRequest(spec=run.spec), timeout=seconds):
                    yield _translated(answer)
            except grpc.aio.AioRpcError as error:
                raise _failure(error) from error


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


def _translated(answer: InspectDatasetsResponse) -> InspectRunResponse:
    if answer.HasField("progress"):
        return InspectRunResponse(progress=answer.progress)
    return InspectRunResponse(inspection=answer.inspection)


def _failure(error: grpc.aio.AioRpcError) -> KubeTunerError:
    """What the other server said, in its own words; where it said nothing, that it is away."""
    found = explain(error)
    if isinstance(found, Refused) and found.reason in ("UNAVAILABLE", "CANCELLED"):  # gRPC's words, not ours
        words = (
            f"the container `inspection` beside the controller does not answer ({error.details()}), and its log says why; ask again in a "
            "moment, or run `kubetuner inspect` elsewhere"
        )
        return Refused(grpc.StatusCode.UNAVAILABLE, "INSPECTION_AWAY", words, retry_seconds=10.0)
    return found
