"""Runs between the two forms that RunService knows: the CR of the cluster in plain values, and the messages of the schema."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import json_format

from kubetuner.controller import runs as events
from kubetuner.controller.api import GROUP, Json
from kubetuner.errors import SpecError, SpecErrors
from kubetuner.rpc.errors import Refused
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import to_json
from kubetuner.v1alpha1 import run_service_pb2 as pb
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

REQUEST_ID: Final = f"{GROUP}/request-id"
REQUEST_DIGEST: Final = f"{GROUP}/request-digest"


def message(run: Json) -> TrainingRun:
    """A CR as a message; of its metadata only what the schema knows."""
    return json_format.ParseDict(run, TrainingRun(), ignore_unknown_fields=True)


def document(run: TrainingRun, namespace: str) -> Json:
    """The CR to create, checked against the whole schema. Raises SpecErrors."""
    if run.metadata.namespace not in ("", namespace):
        problem = f"{run.metadata.namespace!r} given, but the call is for {namespace!r}; make them equal, or leave this one out"
        raise SpecErrors([SpecError("metadata.namespace", problem)])
    document = {name: value for name, value in to_json(run).items() if name != "status"}
    parse_run(document)
    document["metadata"]["namespace"] = namespace
    return document


def same(earlier: Json, digest: str) -> TrainingRun:
    """The run of an earlier call with the same id. Raises Refused where that one asked for something else."""
    if annotation(earlier, REQUEST_DIGEST) != digest:
        words = f"this request_id has made the run {earlier['metadata']['name']} of another request; take a new one for each request"
        raise Refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", words)
    return message(earlier)


def annotation(run: Json, name: str) -> str:
    """An annotation of a run; empty where it has none such."""
    return str((run["metadata"].get("annotations") or {}).get(name, ""))


def event_message(event: events.RunEvent) -> pb.RunEvent:
    """An event with the run's status after it."""
    found = pb.RunEvent(sequence=event.sequence, type=event.type, reason=event.reason, message=event.message)
    found.time.FromDatetime(event.time)
    json_format.ParseDict(event.status, found.status, ignore_unknown_fields=True)
    return found
