"""Addresses of a run, and views of a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubetuner.errors import SpecError
from kubetuner.storage import places
from kubetuner.storage.below import Below
from kubetuner.storage.dry import DryStore
from kubetuner.storage.memory import MemoryStore

FIELD = "spec.datasets[0].source.uri"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "volumes" / "pictures" / "dog").mkdir(parents=True)
    (tmp_path / "volumes" / "pictures" / "dog" / "a.png").write_bytes(b"1")
    secret = tmp_path / "secrets" / "other-s3"
    secret.mkdir(parents=True)
    for key, value in {"endpoint": "http://minio:9000", "accessKey": "them", "secretKey": "hush\n", "region": "eu"}.items():
        (secret / key).write_text(value)
    return {"KUBETUNER_VOLUMES": str(tmp_path / "volumes"), "KUBETUNER_SECRETS": str(tmp_path / "secrets"), "AWS_ACCESS_KEY_ID": "us"}


def test_a_volume_is_read_where_it_is_mounted(environment: dict[str, str]) -> None:
    found = places.open_source("volume://pictures/dog", path=FIELD, base=Path("/"), store=None, environment=environment)
    assert [info.key for info in found.list()] == ["a.png"]


def test_a_prefix_of_the_store_is_read_as_a_place_of_its_own() -> None:
    store = MemoryStore()
    store.put("datasets/dog/a.png", b"1")
    store.put("datasets/dogs/b.png", b"2")
    found = places.open_source("store:datasets/dog", path=FIELD, base=Path("/"), store=store)
    assert [(info.key, found.get(info.key)) for info in found.list()] == [("a.png", b"1")]


def test_a_secret_tells_of_another_server(environment: dict[str, str]) -> None:
    from kubetuner.storage.minio import MinioStore

    found = places.open_source("s3://theirs/x", path=FIELD, base=Path("/"), store=None, secret="other-s3", environment=environment)
    assert isinstance(found, MinioStore)
    assert (found.endpoint, found.uri) == ("http://minio:9000", "s3://theirs/x")
    assert found.client._provider.retrieve().secret_key == "hush"


@pytest.mark.parametrize(
    ("uri", "secret", "words"),
    [
        ("volume://none/x", "", "mount the volume 'none'"),
        ("volume://pictures/../x", "", "names no volume"),
        ("volume:///x", "", "names no volume"),
        ("volume://pictures/cat", "", "is not a folder"),
        ("store:", "", "names no part of a store"),
        ("store:../x", "", "names no part of a store"),
        ("s3://theirs/x", "none", "the Secret 'none' is not there"),
        ("s3://theirs/x", "../secrets/other-s3", "is not there"),
        ("ftp://x", "", "scheme"),
    ],
)
def test_what_cannot_be_there_is_named(environment: dict[str, str], uri: str, secret: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as found:
        places.open_source(uri, path=FIELD, base=Path("/"), store=MemoryStore(), secret=secret, environment=environment)
    assert found.value.path.startswith("spec.datasets[0].source.")


def test_a_secret_that_lacks_a_key_is_named(environment: dict[str, str]) -> None:
    Path(environment["KUBETUNER_SECRETS"], "other-s3", "secretKey").unlink()
    with pytest.raises(SpecError, match="has no secretKey"):
        places.open_source("s3://theirs/x", path=FIELD, base=Path("/"), store=None, secret="other-s3", environment=environment)


def test_a_store_address_without_a_store_is_named() -> None:
    with pytest.raises(SpecError, match="give --store"):
        places.open_source("store:datasets/x", path=FIELD, base=Path("/"), store=None)


def test_a_dry_store_shows_both_and_changes_nothing() -> None:
    below = MemoryStore()
    below.put("a", b"1")
    below.put("c", b"3")
    dry = DryStore(below)
    assert dry.put("b", b"2")
    assert not dry.put("a", b"9")
    assert dry.put("c", b"33", replace=True)
    assert [(info.key, info.size) for info in dry.list()] == [("a", 1), ("b", 1), ("c", 2)]
    assert (dry.get("a"), dry.get("b"), dry.get("c"), dry.head("none")) == (b"1", b"2", b"33", None)
    assert [info.key for info in below.list()] == ["a", "c"]


def test_what_lies_beside_a_prefix_cannot_be_reached() -> None:
    store = MemoryStore()
    store.put("secret", b"1")
    below = Below(store, "datasets/x")
    for key in ("../../secret", "/secret", ""):
        with pytest.raises(Exception, match="not a key"):
            below.get(key)
