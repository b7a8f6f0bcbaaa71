"""The flow on a real object server: its pictures and its store there, and the server away in the middle of each stage."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from kubetuner import local
from kubetuner.artifacts import objects
from kubetuner.context import StageContext
from kubetuner.errors import KubeTunerError
from kubetuner.flow import STAGES
from kubetuner.storage import ObjectStore
from kubetuner.storage.directory import DirectoryStore
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun
from tests.flow.flows import Place, a_run
from tests.minio.server import Server

pytestmark = pytest.mark.needs("minio")
TRAIN: dict[str, Any] = {"maxSteps": 4, "checkpoint": {"everySteps": 2, "keep": 2}, "lora": {"rank": 2, "targets": ["to_k"]}}
EVALUATE: dict[str, Any] = {"loss": {"numTimesteps": 1, "numImages": 2}}


def finished(run: TrainingRun, place: Place, store: ObjectStore, out: str, progress: Any = None) -> dict[str, Any]:
    """result.json of a whole run."""
    ctx = StageContext(store=store, base=place.base, device="cpu")
    if progress is not None:
        ctx.progress = progress
    return local.run(run, place.base / out, ctx).result


@pytest.fixture
def here(minio: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, as the environment tells of it."""
    for name, value in minio.environment.items():
        monkeypatch.setenv(name, value)
    return minio


def test_pictures_and_store_may_lie_anywhere(place: Place, here: Server) -> None:
    """Equal pictures have equal keys and give equal weights, from a folder into a folder, and from a bucket into a bucket."""
    bucket = here.bucket()
    pictures = here.store(bucket, "pictures/dog")
    for path in sorted((place.base / "photographs").iterdir()):
        pictures.put(path.name, path)
    from_folder = finished(a_run(train=TRAIN, evaluate=EVALUATE), place, DirectoryStore(place.base / "store"), "from-folder")
    run = a_run({"datasets[0].source.uri": f"s3://{bucket}/pictures/dog"}, train=TRAIN, evaluate=EVALUATE)
    from_bucket = finished(run, place, here.store(bucket, "store"), "from-bucket")
    assert from_bucket["artifacts"] == from_folder["artifacts"]
    assert from_bucket["work"] == from_folder["work"]
    lora = [(place.base / out / "lora.safetensors").read_bytes() for out in ("from-folder", "from-bucket")]
    assert lora[0] == lora[1]


def test_a_bucket_without_pictures_is_named(place: Place, here: Server) -> None:
    with pytest.raises(KubeTunerError, match=r"spec\.datasets\[0\]\.source\.uri: .*no bucket 'not-there'"):
        finished(a_run({"datasets[0].source.uri": "s3://not-there/x"}), place, place.store, "out")


@dataclass
class Outages:
    """Progress that ends the server in the middle of each stage, and starts it again some seconds later."""

    server: Server
    seconds: float
    stages: list[str] = field(default_factory=list)
    _stage: str = ""
    _starting: threading.Timer | None = None

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        self._stage = stage

    def advance(self, count: int = 1, **figures: float) -> None:
        if self._stage not in self.stages:
            self.wait()
            self.stages.append(self._stage)
            self.server.kill()
            self._starting = threading.Timer(self.seconds, self.server.start)
            self._starting.start()

    def note(self, message: str) -> None:
        pass

    def wait(self) -> None:
        if self._starting is not None:
            self._starting.join()


def test_a_server_that_is_away_in_each_stage_costs_time_and_nothing_else(place: Place, minio: Server) -> None:
    run = a_run(train=TRAIN, evaluate=EVALUATE)
    expected = finished(run, place, place.store, "undisturbed")
    outages = Outages(minio, 3.0)
    try:
        found = finished(run, place, minio.store(), "out", outages)
    finally:
        outages.wait()
    assert outages.stages == [stage.name for stage in STAGES]
    assert (found["artifacts"], found["work"]) == (expected["artifacts"], expected["work"])
    assert (place.base / "out" / "lora.safetensors").read_bytes() == (place.base / "undisturbed" / "lora.safetensors").read_bytes()


def test_a_server_that_freezes_in_the_middle_of_a_training_is_waited_for(place: Place, minio: Server) -> None:
    store = minio.store()
    frozen = threading.Event()

    class Freezing(Outages):
        def advance(self, count: int = 1, **figures: float) -> None:
            if self._stage == "train" and not frozen.is_set():
                freezing.start()
                assert frozen.wait(120)

    def freeze() -> None:
        with minio.frozen():
            frozen.set()
            time.sleep(3.0)

    freezing = threading.Thread(target=freeze)
    result = finished(a_run(train=TRAIN, evaluate=EVALUATE), place, store, "out", Freezing(minio, 3.0))
    freezing.join()
    assert objects.find(store, objects.ArtifactRef(noun="checkpoint", fingerprint=result["artifacts"]["checkpoint"])) is not None
