"""Bringing the base model into the store: the same model from wherever it comes, once, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubetuner.artifacts import model as models
from kubetuner.artifacts import objects
from kubetuner.artifacts.dataset import Dataset
from kubetuner.artifacts.files import File
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.errors import DataError, Interrupted, KubeTunerError, SpecError
from kubetuner.ingest.core.model import bring
from kubetuner.local import bring_near
from kubetuner.storage import Content, ObjectStore
from kubetuner.storage.memory import MemoryStore
from kubetuner.v1alpha1.training_run_pb2 import Model
from tests.beating import BeatingStore
from tests.hub import COMMIT, FakeHub


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBETUNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tiny_sdxl: Path, tmp_path: Path) -> Path:
    """A model's folder as one finds it: with much beside that no run reads."""
    place = Path(shutil.copytree(tiny_sdxl, tmp_path / "volumes" / "weights" / "tiny-sdxl"))
    for name in ("unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors", "sd_xl.safetensors", "README.md"):
        (place / name).write_bytes(b"x" * 5000)
    (place / "safety_checker").mkdir()
    (place / "safety_checker" / "config.json").write_bytes(b"{}")
    return place


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub(folder) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.endpoint)
        yield found


def context(folder: Path, store: ObjectStore | None = None) -> StageContext:
    return StageContext(store=store or MemoryStore(), base=folder.parent)


def file_of(path: Path, root: Path) -> File:
    data = path.read_bytes()
    return File(path=path.relative_to(root).as_posix(), size=len(data), sha256=hashlib.sha256(data).hexdigest())


def put_below(store: ObjectStore, prefix: str, folder: Path) -> None:
    for path in filter(Path.is_file, folder.rglob("*")):
        store.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path)


def test_the_same_model_has_the_same_name_wherever_it_comes_from(folder: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBETUNER_VOLUMES", str(folder.parent.parent))
    store = MemoryStore()
    put_below(store, "models/by-hand", folder)
    pushed = Dataset(store, "models/pushed")
    for path in filter(Path.is_file, folder.rglob("*")):
        pushed.take(file_of(path, folder), path)
    pushed.flush()
    ways = ["tiny-sdxl", "volume://weights/tiny-sdxl", "store:models/by-hand", "store:models/pushed", hub.hub_id]
    refs = {way: bring(Model(path=way), context(folder, store)) for way in ways}
    assert len(set(refs.values())) == 1, refs


def test_only_what_a_run_reads_is_brought(folder: Path) -> None:
    ctx = context(folder)
    ref = bring(Model(path="tiny-sdxl"), ctx)
    index = objects.load(ctx.store, ref)
    paths = {file.path for file in models.files(index)}
    assert paths == {info.key.removeprefix(ref.prefix) for info in ctx.store.list(ref.prefix)} - {"index.json"}
    assert "unet/diffusion_pytorch_model.safetensors" in paths
    assert not [path for path in paths if "fp16" in path or path.endswith((".bin", ".md")) or "safety" in path or path.startswith("sd_xl")]
    assert ref == models.reference(models.files(index))


def test_a_variant_is_brought_instead(folder: Path) -> None:
    for path in [*folder.rglob("*.safetensors")]:
        if path.parent != folder and "fp16" not in path.name:
            shutil.copy(path, path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    ctx = context(folder)
    index = objects.load(ctx.store, bring(Model(path="tiny-sdxl", variant="fp16"), ctx))
    weights = [file.path for file in models.files(index) if file.path.endswith(".safetensors")]
    assert len(weights) == 4
    assert all(path.endswith(".fp16.safetensors") for path in weights)
    assert index["variant"] == "fp16"


def test_a_second_time_brings_nothing(folder: Path, hub: FakeHub) -> None:
    ctx = context(folder)
    bring(Model(path=hub.hub_id), ctx)
    assert ctx.work["modelFilesBrought"] == 18
    hub.asked.clear()
    again = context(folder, ctx.store)
    bring(Model(path=hub.hub_id, revision="v1"), again)
    assert again.work["modelFilesBrought"] == 0
    assert not [path for path in hub.asked if path.endswith(".safetensors")]


def test_what_is_in_the_store_needs_no_hub(folder: Path, hub: FakeHub) -> None:
    ctx = context(folder)
    ref = bring(Model(path=hub.hub_id), ctx)
    assert bring(Model(path=hub.hub_id, revision=COMMIT), ctx) == ref
    assert objects.load(ctx.store, ref)["revision"] == COMMIT
    hub.__exit__()
    assert bring(Model(path=hub.hub_id, revision=COMMIT), ctx) == ref
    assert bring(Model(path=models.address(ref)), ctx) == ref
    hub.__enter__()


def test_a_hub_that_is_busy_is_asked_again_and_tells_nobody_the_token(folder: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token, hub.failures = "secret", 2
    monkeypatch.setenv("HF_TOKEN", "secret")
    bring(Model(path=hub.hub_id), context(folder))
    assert not hub.leaked


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"path": "owner/other"}, "owner/other at main is not on "),
        ({"path": "owner/tiny", "revision": "v2"}, "owner/tiny at v2 is not on "),
        ({"path": "store:models/none"}, "model store:models/none: nothing is there; bring it by `kubetuner push`"),
        ({"path": "store:"}, "names no part of a store"),
        ({"path": "volume://none/x"}, "mount the volume 'none'"),
        ({"path": "volume://../x"}, "names no volume"),
        ({"path": "store:model/" + "0" * 40}, "is not in memory:"),
        ({"path": "tiny-sdxl", "variant": "bf16"}, "no weights of variant bf16"),
        ({"path": "store:models/x.safetensors"}, "there is no such file"),
    ],
)
def test_what_cannot_be_brought_is_named(folder: Path, hub: FakeHub, fields: dict[str, str], words: str) -> None:
    with pytest.raises((SpecError, DataError), match=words):
        bring(Model(**fields), context(folder))


def test_a_token_that_the_hub_refuses_is_named(folder: Path, hub: FakeHub) -> None:
    hub.token = "secret"
    with pytest.raises(SpecError, match="HF_TOKEN"):
        bring(Model(path=hub.hub_id), context(folder))


class Failing(MemoryStore):
    """A store that takes so many objects and then no more."""

    def __init__(self, takes: int) -> None:
        super().__init__()
        self.takes = takes

    def put(self, key: str, data: Content, *, replace: bool = False, durable: bool = True) -> bool:
        if key.startswith("model/"):
            self.takes -= 1
            if self.takes < 0:
                raise KubeTunerError("gone")
        return super().put(key, data, replace=replace, durable=durable)


@pytest.mark.parametrize("takes", [0, 1, 7, 18])
def test_a_model_that_was_half_brought_goes_on(folder: Path, hub: FakeHub, takes: int) -> None:
    store = Failing(takes)
    with pytest.raises(KubeTunerError, match="gone"):
        bring(Model(path=hub.hub_id), context(folder, store))
    assert not [info.key for info in store.list("model/") if info.key.endswith("/index.json")]
    store.takes = 1000
    ctx = context(folder, store)
    bring(Model(path=hub.hub_id), ctx)
    assert ctx.work["modelFilesBrought"] == 18 - takes


def test_a_damaged_half_is_replaced(folder: Path) -> None:
    whole = context(folder)
    ref = bring(Model(path="tiny-sdxl"), whole)
    half = MemoryStore()
    half.put(ref.key("unet/config.json"), b"{}")
    key = ref.key("unet/diffusion_pytorch_model.safetensors")
    half.put(key, bytes(len(whole.store.get(key))))
    bring(Model(path="tiny-sdxl"), context(folder, half))
    assert half.get(key) == whole.store.get(key)


def test_a_model_whose_files_have_gone_is_brought_again(folder: Path) -> None:
    ctx = context(folder)
    ref = bring(Model(path="tiny-sdxl"), ctx)
    ctx.store.delete(ref.key("vae/config.json"))
    assert bring(Model(path="tiny-sdxl"), ctx) == ref
    assert ctx.work["modelFilesBrought"] == 19


def test_two_at_once_bring_it_once(folder: Path) -> None:
    store, together = BeatingStore(), threading.Barrier(2)
    contexts = [context(folder, store) for _ in range(2)]
    refs: list[ArtifactRef] = []

    def one(ctx: StageContext) -> None:
        together.wait()
        refs.append(bring(Model(path="tiny-sdxl"), ctx))

    threads = [threading.Thread(target=one, args=(ctx,)) for ctx in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refs[0] == refs[1]
    assert sorted(ctx.work["modelFilesBrought"] for ctx in contexts) == [0, 18]


def test_a_stop_is_heard(folder: Path) -> None:
    ctx = context(folder)
    ctx.cancelled.set()
    with pytest.raises(Interrupted):
        bring(Model(path="tiny-sdxl"), ctx)


def test_an_autoencoder_of_its_own_comes_with_the_model(folder: Path) -> None:
    vae = Path(shutil.copytree(folder / "vae", folder.parent / "own"))
    ctx = context(folder)
    plain = bring(Model(path="tiny-sdxl"), ctx)
    model = Model(path="tiny-sdxl")
    model.vae.path = str(vae)
    own = bring(model, ctx)
    assert own != plain
    digests = [objects.load(ctx.store, ref)["digests"] for ref in (plain, own)]
    assert digests[0] == digests[1]  # it has the same content
    model.path = models.address(plain)
    assert bring(model, ctx) == own


def test_nothing_is_brought_that_a_laptop_can_read(folder: Path) -> None:
    ctx = context(folder)
    near = Model(path="tiny-sdxl")
    bring_near(near, ctx)
    assert near == Model(path="tiny-sdxl")
    assert list(ctx.store.list()) == []
    put_below(ctx.store, "models/tiny-sdxl", folder)
    found = Model(path="store:models/tiny-sdxl", variant="")
    bring_near(found, ctx)
    assert models.named_by(found.path) is not None
    assert models.name_of(ctx.store, found.path, "") == "tiny-sdxl"


def test_nothing_stays_in_the_scratch_folder(folder: Path, hub: FakeHub, scratch: Path) -> None:
    bring(Model(path=hub.hub_id), context(folder))
    assert [path for path in scratch.rglob("*") if path.is_file()] == []
