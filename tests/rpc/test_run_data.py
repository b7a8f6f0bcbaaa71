"""Datasets into the store, and files out of it, over RunService: whole, broken in the middle, damaged, of somebody else."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kubetuner.artifacts import objects, outputs
from kubetuner.artifacts.dataset import Dataset
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.cli.main import main
from kubetuner.controller.service_outputs import resolved_run
from kubetuner.errors import ArtifactError, InputError
from kubetuner.rpc.errors import explain
from kubetuner.v1alpha1 import run_service_pb2 as pb
from kubetuner.v1alpha1 import run_service_pb2_grpc
from tests.rpc.service import Service, serve
from tests.rpc.test_run_service import document, refusal
from tests.waiting import SECONDS, until


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serve(tmp_path / "tls") as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "photographs"
    (found / "more").mkdir(parents=True)
    (found / "a.png").write_bytes(b"a" * 10)
    (found / "empty.txt").write_bytes(b"")
    (found / "more" / "large.png").write_bytes(bytes(range(256)) * 10_000)
    (found / ".hidden").write_bytes(b"not sent")
    return found


def test_a_folder_is_pushed_once(service: Service, folder: Path) -> None:
    with service.client() as kt:
        first = kt.push(folder, "datasets/photographs")
        assert (first.uri, first.files, first.sent) == ("store:datasets/photographs", 3, 3)
        assert service.store.get("datasets/photographs/more/large.png") == (folder / "more" / "large.png").read_bytes()
        assert service.store.head("datasets/photographs/.hidden") is None
        again = kt.push(folder, "datasets/photographs")
        assert (again.files, again.sent) == (3, 0)
        (folder / "a.png").write_bytes(b"b" * 10)
        assert kt.push(folder, "datasets/photographs").sent == 1
    assert service.store.get("datasets/photographs/a.png") == b"b" * 10


def test_what_came_whole_before_a_break_is_not_sent_again(service: Service, folder: Path) -> None:
    def parts() -> Iterator[pb.UploadDatasetRequest]:
        yield pb.UploadDatasetRequest(header=pb.UploadHeader(namespace="team", dataset="datasets/photographs"))
        for path in ("a.png", "more/large.png"):
            data = (folder / path).read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            yield pb.UploadDatasetRequest(file=pb.DatasetFile(path=path, size_bytes=len(data), sha256=digest))
            if path == "a.png":
                yield pb.UploadDatasetRequest(data=data)
            else:
                yield pb.UploadDatasetRequest(data=data[: 1 << 20])
                until(lambda: service.store.head("datasets/photographs/a.png") is not None)  # what is under way is taken back on cancelling
                call.cancel()

    channel = grpc.secure_channel(service.address, grpc.ssl_channel_credentials(service.certificates.authority.read_bytes()))
    stub: Any = run_service_pb2_grpc.RunServiceStub(channel)
    call = stub.UploadDataset.future(parts(), metadata=(("authorization", "Bearer alice-token"),))
    with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
        call.result()
    channel.close()
    dataset = Dataset(service.store, "datasets/photographs")
    until(
        lambda: bool(list(service.store.list("uploads/datasets/photographs/"))) and bool(dataset.digests())
    )  # what came whole is written down
    assert service.store.head("datasets/photographs/more/large.png") is None
    with service.client() as kt:
        assert kt.push(folder, "datasets/photographs").sent == 2
    assert service.store.head("datasets/photographs/more/large.png") == 2_560_000


def test_a_push_goes_on_after_the_server_was_away(service: Service, folder: Path) -> None:
    for number in range(40):
        (folder / f"{number:02d}.bin").write_bytes(bytes([number]) * 300_000)
    again = threading.Thread(target=service.restart)

    def told(what: str, path: str, size: int, total: int) -> None:
        if what == "send" and again.ident is None:
            again.start()

    with service.client(patience_seconds=SECONDS) as kt:
        pushed = kt.push(folder, "datasets/photographs", told=told)
    again.join()
    assert pushed.files == 43
    assert Dataset(service.store, "datasets/photographs").compare([]) == []
    assert len(Dataset(service.store, "datasets/photographs").digests()) == 43


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        (pb.DatasetFile(path="a.png", size_bytes=4, sha256="0" * 64), [b"abcd"], "SHA-256"),
        (pb.DatasetFile(path="a.png", size_bytes=3, sha256=hashlib.sha256(b"abcd").hexdigest()), [b"abcd"], "more than the 3 bytes"),
        (pb.DatasetFile(path="a.png", size_bytes=9, sha256=hashlib.sha256(b"abcd").hexdigest()), [b"abcd"], "4 bytes"),
        (pb.DatasetFile(path="../a.png", size_bytes=4, sha256=hashlib.sha256(b"abcd").hexdigest()), [b"abcd"], "no path"),
    ],
)
def test_a_file_that_is_not_what_was_announced_is_not_kept(service: Service, file: pb.DatasetFile, data: list[bytes], words: str) -> None:
    with pytest.raises(InputError, match=words):
        upload(service, "datasets/photographs", file, data)
    assert list(service.store.list("datasets/")) == []


def upload(
    service: Service, dataset: str, file: pb.DatasetFile, data: list[bytes], *, namespace: str = "team", token: str = "alice"
) -> Any:
    parts = [
        pb.UploadDatasetRequest(header=pb.UploadHeader(namespace=namespace, dataset=dataset)),
        pb.UploadDatasetRequest(file=file),
        *(pb.UploadDatasetRequest(data=piece) for piece in data),
    ]
    with grpc.secure_channel(service.address, grpc.ssl_channel_credentials(service.certificates.authority.read_bytes())) as channel:
        stub: Any = run_service_pb2_grpc.RunServiceStub(channel)
        try:
            return stub.UploadDataset(iter(parts), metadata=(("authorization", f"Bearer {token}-token"),))
        except grpc.RpcError as error:
            raise explain(error) from error


def test_a_dataset_belongs_to_the_namespace_that_brought_it(service: Service) -> None:
    file = pb.DatasetFile(path="a.png", size_bytes=4, sha256=hashlib.sha256(b"abcd").hexdigest())
    upload(service, "datasets/ours/photographs", file, [b"abcd"])
    for name in ("datasets/ours/photographs", "datasets/ours", "datasets/ours/photographs/more"):
        error = refusal(lambda name=name: upload(service, name, file, [b"abcd"], namespace="other"))
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "DATASET_OF_ANOTHER")
    upload(service, "datasets/others", file, [b"abcd"], namespace="other")


def test_who_has_no_rights_uploads_nothing(service: Service, folder: Path) -> None:
    file = pb.DatasetFile(path="a.png", size_bytes=4, sha256=hashlib.sha256(b"abcd").hexdigest())
    assert refusal(lambda: upload(service, "datasets/x", file, [b"abcd"], token="bob")).code is grpc.StatusCode.PERMISSION_DENIED
    with service.client("bob-token") as kt:
        assert refusal(lambda: kt.push(folder, "datasets/x")).code is grpc.StatusCode.PERMISSION_DENIED
    assert list(service.store.list()) == []


@pytest.mark.parametrize("name", ["photographs", "reports/x", "datasets/../x"])
def test_a_name_that_is_no_datasets_is_wrong_input(service: Service, folder: Path, name: str) -> None:
    with service.client() as kt, pytest.raises(InputError):
        kt.push(folder, name)


FILES = {"lora.safetensors": b"weights" * 400_000, "diffusers/pytorch_lora_weights.safetensors": b"peft", "report/index.html": b"<html>"}


def finished(service: Service, name: str = "tiny") -> dict[str, Any]:
    """A run that has succeeded, and its files in the store."""
    store = service.store
    artifacts: dict[str, str] = {}
    before: ArtifactRef | None = None
    for noun in ("manifest", "cache", "checkpoint", "report"):
        ref = ArtifactRef(noun=noun, fingerprint=noun[0] * 40)
        index: dict[str, Any] = {"source": {"noun": before.noun, "fingerprint": before.fingerprint}} if before else {}
        if noun == "checkpoint":
            index |= {"loss": {"first": 1.0, "last": 0.5}, "steps": []}
        if noun == "cache":
            index["shards"] = {"texts": [], "latents": []}
        objects.commit(store, ref, index, {"report.json": json.dumps({"evaluation": {"best": 2}}).encode()} if noun == "report" else {})
        artifacts[noun] = ref.fingerprint
        before = ref
    assert before is not None
    with service.client() as kt:
        kt.create_run(document(name))
    service.status(name, {"phase": "Succeeded", "sequence": 9, "artifacts": artifacts})
    run = service.api.runs["team", name]
    resolved = resolved_run(run)
    uid = run["metadata"]["uid"]
    outputs.commit(store, outputs.reference(before, resolved), report=before, run=resolved, files=FILES, uid=uid)
    for stage, attempt, work in (("train", 1, {"stepsTrained": 3}), ("train", 2, {"stepsTrained": 4}), ("embed", 1, {"imagesEncoded": 2})):
        job = {"stage": stage, "work": work, "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:02.500Z"}
        store.put(f"jobs/{uid}-{stage}-{attempt}/job.json", json.dumps(job).encode())
    return run


def test_the_files_of_a_run_come_as_they_are(service: Service, tmp_path: Path) -> None:
    finished(service)
    with service.client() as kt:
        assert {file.path for file in kt.outputs("tiny")} == {*FILES, "run.resolved.yaml", "result.json"}
        paths = kt.download("tiny", tmp_path / "out")
        assert {path.relative_to(tmp_path / "out").as_posix() for path in paths} == {*FILES, "run.resolved.yaml", "result.json"}
        for path, data in FILES.items():
            assert (tmp_path / "out" / path).read_bytes() == data
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert set(result) == {"name", "phase", "artifacts", "work", "seconds", "loss", "evaluation"}
    assert result["work"] == {"imagesRead": 0, "captionsEncoded": 0, "imagesEncoded": 2, "stepsTrained": 7, "imagesGenerated": 0}
    assert result["seconds"] == {"embed": 2.5, "train": 5.0}
    assert "maxSteps: 2" in (tmp_path / "out" / "run.resolved.yaml").read_text()
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_download_goes_on_behind_what_came(service: Service, tmp_path: Path) -> None:
    finished(service)
    out = tmp_path / "out"
    out.mkdir()
    digest = hashlib.sha256(FILES["lora.safetensors"]).hexdigest()
    (out / f".lora.safetensors.{digest[:12]}.part").write_bytes(FILES["lora.safetensors"][:1_000_000])
    came: dict[str, list[int]] = {}
    with service.client() as kt:
        kt.download("tiny", out, told=lambda path, size, total: came.setdefault(path, []).append(size))
    assert came["lora.safetensors"][0] == 1_000_000
    assert (out / "lora.safetensors").read_bytes() == FILES["lora.safetensors"]


def test_what_is_there_is_not_brought_again(service: Service, tmp_path: Path) -> None:
    finished(service)
    with service.client() as kt:
        kt.download("tiny", tmp_path)
        inode = (tmp_path / "lora.safetensors").stat().st_ino
        kt.download("tiny", tmp_path)
    assert (tmp_path / "lora.safetensors").stat().st_ino == inode


def test_a_file_that_comes_damaged_takes_no_place(service: Service, tmp_path: Path) -> None:
    finished(service)
    [key] = [info.key for info in service.store.list("outputs/") if info.key.endswith("/lora.safetensors")]
    service.store.put(key, b"x" * len(FILES["lora.safetensors"]), replace=True)
    with service.client() as kt, pytest.raises(ArtifactError, match="damaged"):
        kt.download("tiny", tmp_path)
    assert not (tmp_path / "lora.safetensors").exists()


def test_only_a_run_that_has_succeeded_gives_files(service: Service) -> None:
    with service.client() as kt:
        kt.create_run(document())
        error = refusal(lambda: kt.outputs("tiny"))
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RUN_NOT_SUCCEEDED")
    finished(service, "done")
    with service.client() as kt:
        assert refusal(lambda: list(kt.read_output("done", "../secret"))).reason == "NO_SUCH_OUTPUT"
        assert refusal(lambda: list(kt.read_output("done", "lora.safetensors", 10**9))).code is grpc.StatusCode.OUT_OF_RANGE
        assert b"".join(kt.read_output("done", "report/index.html", 3)) == b"ml>"


def test_artifacts_go_with_a_run_but_for_those_that_another_names(service: Service) -> None:
    run = finished(service)
    with service.client() as kt:
        kt.create_run(document("other"))
        service.status(
            "other", {"phase": "Running", "artifacts": {noun: run["status"]["artifacts"][noun] for noun in ("manifest", "cache")}}
        )
        kt.delete("tiny", artifacts=True)
    left = {info.key.split("/")[0] for info in service.store.list()}
    assert left == {"manifest", "cache", "jobs"}


def test_without_being_asked_for_artifacts_stay(service: Service) -> None:
    finished(service)
    before = len(list(service.store.list()))
    with service.client() as kt:
        kt.delete("tiny")
    assert len(list(service.store.list())) == before


def test_the_verbs_push_apply_watch_and_fetch(
    service: Service, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    (tmp_path / "token").write_text("alice-token\n")
    monkeypatch.setenv("KUBETUNER_ADDRESS", service.address)
    monkeypatch.setenv("KUBETUNER_CA", str(service.certificates.authority))
    monkeypatch.setenv("KUBETUNER_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("KUBETUNER_NAMESPACE", "team")
    assert main(["push", str(folder), "datasets/photographs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"uri": "store:datasets/photographs", "files": 3, "sent": 3, "sentBytes": 2_560_010}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(document()))
    assert main(["apply", "-f", str(tmp_path / "run.yaml"), "--dry-run"]) == 0
    assert main(["apply", "-f", str(tmp_path / "run.yaml")]) == 0
    assert main(["apply", "-f", str(tmp_path / "run.yaml")]) == 0
    assert capsys.readouterr().out == "team/tiny: would be created\nteam/tiny: applied\nteam/tiny: applied\n"
    assert main(["apply", "-f", str(tmp_path / "run.yaml"), "--set", "train.maxSteps=9"]) == 2
    assert "is there already" in capsys.readouterr().err
    service.status("tiny", {"phase": "Failed", "sequence": 1, "reason": "TrainFailed", "message": "no"})
    assert main(["watch", "tiny"]) == 1
    assert "TrainFailed: no" in capsys.readouterr().out
    finished(service, "done")
    assert main(["watch", "done", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"]["phase"] == "Succeeded"
    assert main(["outputs", "done", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "lora.safetensors").read_bytes() == FILES["lora.safetensors"]
    assert main(["outputs", "nobody", "-o", str(tmp_path / "out")]) == 2
    monkeypatch.setenv("KUBETUNER_TOKEN", "nobody")
    monkeypatch.delenv("KUBETUNER_TOKEN_FILE")
    assert main(["watch", "done"]) == 1
    assert "audience" in capsys.readouterr().err


def test_the_verbs_go_straight_to_a_store(service: Service, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "store"
    assert main(["push", str(folder), "datasets/photographs", "--store", str(place), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sent"] == 3
    assert main(["push", str(folder), "datasets/photographs", "--store", str(place), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sent"] == 0
    finished(service)
    for info in service.store.list():
        (place / info.key).parent.mkdir(parents=True, exist_ok=True)
        (place / info.key).write_bytes(service.store.get(info.key))
    assert main(["outputs", "tiny", "--store", str(place), "-o", str(tmp_path / "out")]) == 0
    for path, data in FILES.items():
        assert (tmp_path / "out" / path).read_bytes() == data
    assert json.loads((tmp_path / "out" / "result.json").read_text())["work"]["stepsTrained"] == 7
    assert main(["outputs", "nobody", "--store", str(place)]) == 2
