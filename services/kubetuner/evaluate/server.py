"""Evaluate's server: StartEvaluate, beside the jobs that all rooms serve."""

from __future__ import annotations

from typing import Any

from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.evaluate.core.outputs import keep_outputs
from kubetuner.evaluate.core.run import run
from kubetuner.flow import stage
from kubetuner.rpc.desk import Desk
from kubetuner.rpc.pod import Kind
from kubetuner.rpc.room import Room
from kubetuner.rpc.serve import Service
from kubetuner.rpc.settings import Settings
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1 import evaluate_service_pb2 as pb
from kubetuner.v1alpha1 import evaluate_service_pb2_grpc
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun, TrainingRunSpec


class EvaluateService(evaluate_service_pb2_grpc.EvaluateServiceServicer):
    """Starts the stage."""

    def __init__(self, room: Room, desk: Desk) -> None:
        self._room = room
        self._desk = desk

    def StartEvaluate(self, request: pb.StartEvaluateRequest, context: Any) -> pb.StartEvaluateResponse:
        self._room.check(request)
        return pb.StartEvaluateResponse(job=self._desk.start(self._room.order(request)))


def open_room(settings: Settings, store: ObjectStore) -> Room:
    """The room on a store."""
    return Room(
        stage=stage("evaluate"),
        run=run,
        request=pb.StartEvaluateRequest,
        store=store,
        device=settings.device,
        index=settings.index,
        finish=keep_files,
    )


def keep_files(request: pb.StartEvaluateRequest, spec: TrainingRunSpec, result: ArtifactRef, ctx: StageContext) -> None:
    """Keep the files that `kubetuner run --out` would write, under the run's name; nothing for direct use, which has no name."""
    namespace, _, name = request.run.rpartition("/")
    if not name:
        return
    named = TrainingRun(api_version="kubetuner.dev/v1alpha1", kind="TrainingRun", spec=spec)
    named.metadata.name, named.metadata.namespace = name, namespace
    uid = request.request_id.removesuffix(f"-evaluate-{request.attempt}")
    keep_outputs(ctx.store, result, named, base=ctx.base, uid=uid)


def services(room: Room, desk: Desk) -> list[Service]:
    """What the room serves of its own."""
    servicer = EvaluateService(room, desk)
    name = pb.DESCRIPTOR.services_by_name["EvaluateService"].full_name
    return [Service(name=name, add=lambda server: evaluate_service_pb2_grpc.add_EvaluateServiceServicer_to_server(servicer, server))]


KIND = Kind(open=open_room, services=services)
