"""Pictures and a model pushed to a real object server, and trained on by their names there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.cli.main import main
from kubetuner.context import StageContext
from kubetuner.ingest.core.model import bring
from kubetuner.ingest.core.run import run as ingest
from kubetuner.storage.memory import MemoryStore
from kubetuner.v1alpha1.training_run_pb2 import Model
from tests.flow.flows import Place, a_run
from tests.minio.server import Server

pytestmark = pytest.mark.needs("minio")


@pytest.fixture
def here(minio: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, as the environment tells of it."""
    for name, value in minio.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KUBETUNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return minio


def pushed(folder: Path, name: str, store: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["push", str(folder), name, "--store", store, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_only_what_is_missing_is_sent(place: Place, here: Server, capsys: pytest.CaptureFixture[str]) -> None:
    store, folder = f"s3://{here.bucket()}/shared", place.base / "photographs"
    first = pushed(folder, "datasets/photographs", store, capsys)
    assert (first["uri"], first["files"], first["sent"]) == ("store:datasets/photographs", 7, 7)
    assert pushed(folder, "datasets/photographs", store, capsys)["sent"] == 0
    changed = sorted(folder.iterdir())[0]
    data = changed.read_bytes()
    changed.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert pushed(folder, "datasets/photographs", store, capsys)["sent"] == 1
    assert main(["store", "ls", "--store", store]) == 0
    assert "datasets/photographs" in capsys.readouterr().out


def test_a_pushed_model_is_brought_without_being_read_for_its_hashes(
    place: Place, here: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = here.bucket()
    pushed(place.base / "tiny-sdxl", "models/tiny", f"s3://{bucket}/shared", capsys)
    store = here.store(bucket, "shared")
    ctx = StageContext(store=store, base=place.base)
    ref = bring(Model(path="store:models/tiny"), ctx)
    laptop = StageContext(store=MemoryStore(), base=place.base)
    assert bring(Model(path="tiny-sdxl"), laptop) == ref
    by_address = StageContext(store=MemoryStore(), base=place.base)
    assert bring(Model(path=f"s3://{bucket}/shared/models/tiny"), by_address) == ref
    assert objects.load(by_address.store, ref)["digests"] == objects.load(store, ref)["digests"]
    again = StageContext(store=by_address.store, base=place.base)
    bring(Model(path=f"s3://{bucket}/shared/models/tiny"), again)
    assert again.work["modelFilesBrought"] == 0


def test_pictures_of_another_server_have_equal_keys(
    place: Place, here: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a folder, a mounted volume, the store, and a server that a Secret tells of."""
    bucket = here.bucket()
    pushed(place.base / "photographs", "datasets/dog", f"s3://{bucket}/shared", capsys)
    secret = tmp_path / "secrets" / "theirs"
    secret.mkdir(parents=True)
    keys = {"endpoint": here.endpoint, "accessKey": here.access_key, "secretKey": here.secret_key, "region": "us-east-1"}
    for key, value in keys.items():
        (secret / key).write_text(value)
    monkeypatch.setenv("KUBETUNER_SECRETS", str(tmp_path / "secrets"))
    monkeypatch.setenv("KUBETUNER_VOLUMES", str(tmp_path / "volumes"))
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "claim").symlink_to(place.base)
    store = here.store(bucket, "shared")
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    ways = [
        {"datasets[0].source.uri": "photographs"},
        {"datasets[0].source.uri": "volume://claim/photographs"},
        {"datasets[0].source.uri": "store:datasets/dog"},
        {"datasets[0].source.uri": f"s3://{bucket}/shared/datasets/dog", "datasets[0].source.secret": "theirs"},
    ]
    found: set[ArtifactRef] = {ingest(a_run(way).spec, None, StageContext(store=store, base=place.base)) for way in ways}
    assert len(found) == 1


def test_the_command_trains_on_what_was_pushed(place: Place, here: Server, capsys: pytest.CaptureFixture[str]) -> None:
    from kubetuner.spec.resolve import to_yaml

    store = f"s3://{here.bucket()}/shared"
    train = {"maxSteps": 1, "lora": {"rank": 2, "targets": ["to_k"]}}
    evaluate = {"loss": {"numTimesteps": 1, "numImages": 2}}
    pushed(place.base / "photographs", "datasets/photographs", store, capsys)
    pushed(place.base / "tiny-sdxl", "models/tiny-sdxl", store, capsys)
    ours = {"model.path": "store:models/tiny-sdxl", "datasets[0].source.uri": "store:datasets/photographs"}
    results = []
    for name, changes, where in (("there", ours, store), ("here", {}, str(place.base / "store"))):
        (place.base / f"{name}.yaml").write_text(to_yaml(a_run(changes, train=train, evaluate=evaluate)))
        out = place.base / name
        assert main(["run", str(place.base / f"{name}.yaml"), "--store", where, "--out", str(out), "--device", "cpu", "--json"]) == 0
        results.append((json.loads(capsys.readouterr().out)["artifacts"], (out / "lora.safetensors").read_bytes()))
    assert results[0] == results[1]
