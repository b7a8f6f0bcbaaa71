from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Inspection(_message.Message):
    __slots__ = ("datasets", "buckets", "batches", "steps_per_epoch", "steps", "problems")
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    STEPS_PER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedCompositeFieldContainer[DatasetCount]
    buckets: _containers.RepeatedCompositeFieldContainer[BucketCount]
    batches: int
    steps_per_epoch: int
    steps: int
    problems: _containers.RepeatedCompositeFieldContainer[Problem]
    def __init__(self, datasets: _Optional[_Iterable[_Union[DatasetCount, _Mapping]]] = ..., buckets: _Optional[_Iterable[_Union[BucketCount, _Mapping]]] = ..., batches: _Optional[int] = ..., steps_per_epoch: _Optional[int] = ..., steps: _Optional[int] = ..., problems: _Optional[_Iterable[_Union[Problem, _Mapping]]] = ...) -> None: ...

class DatasetCount(_message.Message):
    __slots__ = ("dataset", "images", "used", "unused", "captions", "captions_cut")
    class UnusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    DATASET_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    UNUSED_FIELD_NUMBER: _ClassVar[int]
    CAPTIONS_FIELD_NUMBER: _ClassVar[int]
    CAPTIONS_CUT_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    images: int
    used: int
    unused: _containers.ScalarMap[str, int]
    captions: int
    captions_cut: int
    def __init__(self, dataset: _Optional[str] = ..., images: _Optional[int] = ..., used: _Optional[int] = ..., unused: _Optional[_Mapping[str, int]] = ..., captions: _Optional[int] = ..., captions_cut: _Optional[int] = ...) -> None: ...

class BucketCount(_message.Message):
    __slots__ = ("dataset", "bucket", "width", "height", "images", "batches")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    bucket: str
    width: int
    height: int
    images: int
    batches: int
    def __init__(self, dataset: _Optional[str] = ..., bucket: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., images: _Optional[int] = ..., batches: _Optional[int] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("level", "code", "message", "fix")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    level: str
    code: str
    message: str
    fix: str
    def __init__(self, level: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., fix: _Optional[str] = ...) -> None: ...
