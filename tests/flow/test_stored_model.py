"""A base model out of the store gives what the same folder gives on a laptop: equal keys, equal bytes; and only its parts travel."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from kubetuner import local
from kubetuner.artifacts import model as models
from kubetuner.artifacts import objects
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.diffusion import fetch, layout, load, tensors
from kubetuner.embed.core.run import run as embed
from kubetuner.errors import ArtifactError, DataError
from kubetuner.evaluate.core import full
from kubetuner.ingest.core.model import bring
from kubetuner.ingest.core.run import run as ingest
from kubetuner.storage.memory import MemoryStore
from kubetuner.train.core.run import run as train
from kubetuner.v1alpha1.training_run_pb2 import Model
from tests.flow.flows import Place, a_run

CPU = torch.device("cpu")
TRAIN: dict[str, Any] = {"maxSteps": 2, "lora": {"rank": 2, "targets": ["to_k"]}}
EVALUATE: dict[str, Any] = {"loss": {"numTimesteps": 1, "numImages": 2}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBETUNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "cache"


class Counting(MemoryStore):
    """A store that counts what is read of models."""

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[str] = Counter()

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if key.startswith("model/"):
            self.read[key.split("/", 2)[2]] += 1
        return super().get(key, start, length)


def brought(place: Place, model: Model | None = None) -> tuple[Counting, ArtifactRef]:
    store = Counting()
    ref = bring(model or Model(path="tiny-sdxl"), StageContext(store=store, base=place.base))
    store.read.clear()
    return store, ref


def fetched(cache: Path) -> set[str]:
    return {"/".join(path.parts[-2:]) for path in cache.rglob("*.safetensors")}


def test_equal_keys_and_equal_bytes_from_a_folder_and_from_the_store(place: Place, cache: Path) -> None:
    here = local.run(a_run(train=TRAIN, evaluate=EVALUATE), place.base / "here", place.context()).result
    store, ref = brought(place)
    ctx = StageContext(store=store, base=place.base, device="cpu")
    there = local.run(a_run({"model.path": models.address(ref)}, train=TRAIN, evaluate=EVALUATE), place.base / "there", ctx).result
    assert there["artifacts"] == here["artifacts"]
    for name in ("lora.safetensors", "diffusers/pytorch_lora_weights.safetensors"):
        assert (place.base / "here" / name).read_bytes() == (place.base / "there" / name).read_bytes()


def test_data_and_model_by_their_names_in_the_store(place: Place) -> None:
    """What `kubetuner run --store` does with the very file that a cluster is given."""
    here = local.run(a_run(train=TRAIN, evaluate=EVALUATE), place.base / "here", place.context()).result
    store = MemoryStore()
    for name, folder in (("datasets/photographs", "photographs"), ("models/tiny-sdxl", "tiny-sdxl")):
        root = (place.base / folder).resolve()
        for path in filter(Path.is_file, root.rglob("*")):
            store.put(f"{name}/{path.relative_to(root).as_posix()}", path)
    addresses = {"model.path": "store:models/tiny-sdxl", "datasets[0].source.uri": "store:datasets/photographs"}
    ctx = StageContext(store=store, base=place.base, device="cpu")
    there = local.run(a_run(addresses, train=TRAIN, evaluate=EVALUATE), place.base / "there", ctx).result
    assert there["artifacts"] == here["artifacts"]
    assert (place.base / "here" / "lora.safetensors").read_bytes() == (place.base / "there" / "lora.safetensors").read_bytes()
    assert "store:models/tiny-sdxl" in (place.base / "there" / "run.resolved.yaml").read_text()


def test_a_stage_fetches_its_own_parts_once(place: Place, cache: Path) -> None:
    store, ref = brought(place)
    run = a_run({"model.path": models.address(ref)}, train=TRAIN)
    ctx = StageContext(store=store, base=place.base, device="cpu")
    layout.check_model(run.spec.model, place.base, store)
    assert fetched(cache) == set()
    cached = embed(run.spec, ingest(run.spec, None, ctx), ctx)
    assert {path.split("/")[0] for path in fetched(cache)} == {"vae", "text_encoder", "text_encoder_2"}
    train(run.spec, cached, ctx)
    assert {path.split("/")[0] for path in fetched(cache)} == {"vae", "text_encoder", "text_encoder_2", "unet"}
    assert {path: count for path, count in store.read.items() if path.endswith(".safetensors") and count != 1} == {}


def test_those_who_want_a_part_at_once_fetch_it_once(place: Place, cache: Path) -> None:
    store, ref = brought(place)
    together = threading.Barrier(4)

    def fetched_by_one() -> None:
        together.wait()
        fetch.open_stored(ref, store).folder("unet")

    threads = [threading.Thread(target=fetched_by_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(store.read.values()) - {store.read["index.json"]} <= {1}
    assert store.read["unet/diffusion_pytorch_model.safetensors"] == 1


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_file_in_the_cache_is_replaced(place: Place, cache: Path, damage: bytes | None) -> None:
    store, ref = brought(place)
    wanted = (place.base / "tiny-sdxl" / "vae" / "config.json").read_bytes()
    file = fetch.open_stored(ref, store).file("vae/config.json")
    assert file.read_bytes() == wanted
    file.write_bytes(bytes(len(wanted)) if damage is None else damage)
    assert fetch.open_stored(ref, store).file("vae/config.json").read_bytes() == wanted


def test_a_fetch_that_was_killed_goes_on(place: Place, cache: Path) -> None:
    store, ref = brought(place)
    wanted = (place.base / "tiny-sdxl" / "vae" / "config.json").read_bytes()
    left = cache / "models" / ref.fingerprint / "vae" / ".config.json.part"
    left.parent.mkdir(parents=True)
    for begun in (wanted[:10], b"of another file"):
        left.write_bytes(begun)
        (left.parent / "config.json").unlink(missing_ok=True)
        assert fetch.open_stored(ref, store).file("vae/config.json").read_bytes() == wanted


def test_an_object_that_is_damaged_in_the_store_is_named(place: Place) -> None:
    store, ref = brought(place)
    key = ref.key("vae/config.json")
    store.put(key, bytes(len(store.get(key))), replace=True)
    with pytest.raises(ArtifactError, match=f"store rm --force model/{ref.fingerprint}"):
        fetch.open_stored(ref, store).folder("vae")
    store.delete(key)
    with pytest.raises(ArtifactError, match="missing or cut short"):
        fetch.open_stored(ref, store).folder("vae")


def test_a_single_file_is_taken_apart_and_means_the_same(place: Place, cache: Path) -> None:
    folder = load.open_model(Model(path="tiny-sdxl"), base=place.base)
    unet = load.load_unet(folder, dtype=torch.float32, device=CPU)
    tensors.write(place.base / "model.safetensors", full.single_file_entries(folder, unet.state_dict()), {})
    model = Model(path="model.safetensors", config="tiny-sdxl")
    here = load.open_model(model, base=place.base)
    store, ref = brought(place, model)
    there = load.open_model(Model(path=models.address(ref)), base=place.base, store=store)
    assert {part: here.digest(part) for part in models.PARTS} == {part: there.digest(part) for part in models.PARTS}
    states = [load.load_unet(source, dtype=torch.float32, device=CPU).state_dict() for source in (here, there)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert fetched(cache) == {"checkpoint/unet.safetensors"}
    load.load_vae(there, dtype=torch.float32, device=CPU)
    load.load_text_encoders(there, dtype=torch.float32, device=CPU)
    layout.check_model(Model(path=models.address(ref)), place.base, store)
    again = StageContext(store=store, base=place.base)
    assert bring(model, again) == ref
    assert again.work["modelFilesBrought"] == 0


@pytest.mark.parametrize("single", [False, True])
def test_an_autoencoder_of_its_own_means_the_same(place: Place, single: bool) -> None:
    folder = load.open_model(Model(path="tiny-sdxl"), base=place.base)
    vae = load.load_vae(folder, dtype=torch.float32, device=CPU)
    with torch.no_grad():
        next(iter(vae.parameters())).add_(1)
    vae.save_pretrained(place.base / "own")
    model = Model(path="tiny-sdxl", config="tiny-sdxl")
    model.vae.path = "own"
    if single:
        path = place.base / "own.safetensors"
        (place.base / "own" / "diffusion_pytorch_model.safetensors").rename(path)
        model.vae.path = path.name
    here = load.open_model(model, base=place.base)
    store, ref = brought(place, model)
    later = Model(path=models.address(ref))
    later.vae.path = "a/place-that-later-stages-cannot-reach"
    there = load.open_model(later, base=place.base, store=store)
    assert {part: here.digest(part) for part in models.PARTS} == {part: there.digest(part) for part in models.PARTS}
    assert here.digest("vae") != folder.digest("vae")
    layout.check_model(later, place.base, store)
    if not single:
        states = [load.load_vae(source, dtype=torch.float32, device=CPU).state_dict() for source in (here, there)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_model_that_is_not_whole_is_named(place: Place) -> None:
    store = MemoryStore()
    ref = models.seal(store, [], digests={}, variant="", name="", revision="")
    with pytest.raises(DataError, match="part unet/ is missing"):
        layout.check_model(Model(path=models.address(ref)), place.base, store)
    assert objects.find(store, ref) is not None
