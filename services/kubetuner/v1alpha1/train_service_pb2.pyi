from buf.validate import validate_pb2 as _validate_pb2
from kubetuner.v1alpha1 import artifact_pb2 as _artifact_pb2
from kubetuner.v1alpha1 import job_pb2 as _job_pb2
from kubetuner.v1alpha1 import training_run_pb2 as _training_run_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StartTrainRequest(_message.Message):
    __slots__ = ("spec", "source", "request_id", "run", "attempt")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    spec: _training_run_pb2.TrainingRunSpec
    source: _artifact_pb2.Artifact
    request_id: str
    run: str
    attempt: int
    def __init__(self, spec: _Optional[_Union[_training_run_pb2.TrainingRunSpec, _Mapping]] = ..., source: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., request_id: _Optional[str] = ..., run: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class StartTrainResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...
