"""A room as its server knows it: the stage's own function, and how a request becomes a job of it. Written once for the four."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from google.protobuf import json_format
from google.protobuf.message import Message

from kubetuner.artifacts import model as models
from kubetuner.artifacts.objects import ArtifactRef, canonical, fingerprint
from kubetuner.context import Share, StageContext
from kubetuner.errors import SpecError, SpecErrors
from kubetuner.flow import Run, Stage, memo_key
from kubetuner.rpc.desk import Order
from kubetuner.rpc.live import Doing
from kubetuner.spec import validate
from kubetuner.spec.resolve import resolve_spec
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1.artifact_pb2 import Artifact
from kubetuner.v1alpha1.job_pb2 import Job
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec


class Bring(Protocol):
    """Brings the base model of a run into the store."""

    def __call__(self, spec: TrainingRunSpec, ctx: StageContext) -> ArtifactRef | None:
        """The model in the store; None where there is nothing to bring."""


class Finish(Protocol):
    """What a room does with its result besides naming it."""

    def __call__(self, request: Any, spec: TrainingRunSpec, result: ArtifactRef, ctx: StageContext) -> None:
        """`spec` is the request's, resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One of the four, on a store."""

    stage: Stage
    run: Run
    """The stage's own function."""
    request: type[Message]
    """What its Start call takes."""
    store: ObjectStore
    device: str = "auto"
    index: int | None = None
    """Which pod of an Indexed Job this is."""
    base: Path = field(default_factory=Path.cwd)
    """Where relative paths of a spec start."""
    bring: Bring | None = None
    finish: Finish | None = None

    def order(self, request: Any) -> Order:
        """The job that does what a request asks for. The request is checked by the job, if not before."""
        shard = self._shard(request)
        name = request.request_id or f"{self.stage.name}-{fingerprint(self.stage.name, json_format.MessageToDict(request))}"
        job = Job(name=name, stage=self.stage.name, run=request.run, attempt=request.attempt)
        if shard.count > 1:
            job.name = name if shard.index == 0 else f"{name}-{shard.index}"  # who knows only the request's id finds the first
            job.shard.index, job.shard.count = shard.index, shard.count
        if self.stage.takes is not None:
            job.source.CopyFrom(request.source)
        return Order(job=job, request=request, perform=self._performer(request, shard), is_done=self._judge(request))

    def check(self, request: Any) -> None:
        """Raise SpecErrors where a request is wrong."""
        validate.check(request)
        if self.stage.takes is not None and request.source.noun != self.stage.takes:
            raise SpecErrors([SpecError("source.noun", f"{request.source.noun!r} given; {self.stage.name} takes a {self.stage.takes}")])

    def _shard(self, request: Any) -> Share:
        """The part that a request names: an Indexed Job's pods are told only how many they are, and know which one each is."""
        if "shard" not in request.DESCRIPTOR.fields_by_name or request.shard.count <= 1:
            return Share()
        count = request.shard.count
        index = request.shard.index if self.index is None else self.index
        if index >= count:
            raise SpecErrors([SpecError("shard.index", f"{index} given; must be below the count, {count}")])
        return Share(index=index, count=count, name=request.request_id)

    def _performer(self, request: Any, shard: Share) -> Callable[[Doing], Artifact | None]:
        def perform(doing: Doing) -> Artifact | None:
            self.check(request)
            spec = TrainingRunSpec()
            spec.CopyFrom(request.spec)
            resolve_spec(spec)
            source = None if self.stage.takes is None else ArtifactRef(noun=request.source.noun, fingerprint=request.source.fingerprint)
            ctx = StageContext(
                store=self.store,
                base=self.base,
                device=self.device,
                progress=doing,
                cancelled=doing.cancelled,
                work=doing.work,
                share=shard,
            )
            ctx.check()  # several ranks wait for each other once they have begun
            if self.bring is not None and shard.index == 0 and (model := self.bring(spec, ctx)) is not None:
                doing.model(_artifact(model))
            result = self.run(spec, source, ctx)
            if self.finish is not None:
                self.finish(request, spec, result, ctx)
            self._remember(spec, source, result)
            return _artifact(result)

        return perform

    def _remember(self, spec: TrainingRunSpec, source: ArtifactRef | None, result: ArtifactRef) -> None:
        """Write the memo by which an equal run is spared this stage. Not for ingest: its data may change under the same address."""
        model = models.named_by(spec.model.path)
        if source is not None and model is not None:
            memo = {"noun": result.noun, "fingerprint": result.fingerprint}
            self.store.put(memo_key(self.stage.name, spec, source, model), canonical(memo), replace=True)

    def _judge(self, request: Any) -> Callable[[Job], bool]:
        def is_done(job: Job) -> bool:
            if self.stage.takes is None and not request.request_id:
                return False  # its data may have changed since
            return not job.HasField("result") or self.store.head(f"{job.result.noun}/{job.result.fingerprint}/index.json") is not None

        return is_done


def _artifact(ref: ArtifactRef) -> Artifact:
    return Artifact(noun=ref.noun, fingerprint=ref.fingerprint)
