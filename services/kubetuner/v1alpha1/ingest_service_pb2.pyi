from buf.validate import validate_pb2 as _validate_pb2
from kubetuner.v1alpha1 import inspection_pb2 as _inspection_pb2
from kubetuner.v1alpha1 import job_pb2 as _job_pb2
from kubetuner.v1alpha1 import training_run_pb2 as _training_run_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StartIngestRequest(_message.Message):
    __slots__ = ("spec", "request_id", "run", "attempt", "shard")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    spec: _training_run_pb2.TrainingRunSpec
    request_id: str
    run: str
    attempt: int
    shard: _job_pb2.Shard
    def __init__(self, spec: _Optional[_Union[_training_run_pb2.TrainingRunSpec, _Mapping]] = ..., request_id: _Optional[str] = ..., run: _Optional[str] = ..., attempt: _Optional[int] = ..., shard: _Optional[_Union[_job_pb2.Shard, _Mapping]] = ...) -> None: ...

class StartIngestResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class InspectDatasetsRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: _training_run_pb2.TrainingRunSpec
    def __init__(self, spec: _Optional[_Union[_training_run_pb2.TrainingRunSpec, _Mapping]] = ...) -> None: ...

class InspectDatasetsResponse(_message.Message):
    __slots__ = ("progress", "inspection")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    INSPECTION_FIELD_NUMBER: _ClassVar[int]
    progress: _training_run_pb2.Progress
    inspection: _inspection_pb2.Inspection
    def __init__(self, progress: _Optional[_Union[_training_run_pb2.Progress, _Mapping]] = ..., inspection: _Optional[_Union[_inspection_pb2.Inspection, _Mapping]] = ...) -> None: ...
