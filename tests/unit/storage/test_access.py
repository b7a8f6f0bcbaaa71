"""Where the server is and who we are: what wins over what, and what is said of the rest."""

from pathlib import Path

import pytest

from kubetuner.errors import SpecError
from kubetuner.storage.access import find

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


def files(home: Path, credentials: str = "", config: str = "") -> dict[str, str]:
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(credentials)
    (home / ".aws" / "config").write_text(config)
    return {"HOME": str(home)}


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, "https://s3.amazonaws.com"),
        ({"AWS_ENDPOINT_URL": "http://minio:9000"}, "http://minio:9000"),
        ({"AWS_ENDPOINT_URL": "http://minio:9000/"}, "http://minio:9000"),
        ({"AWS_ENDPOINT_URL": "minio:9000"}, "https://minio:9000"),
        ({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": "http://b:2"}, "http://b:2"),
        ({"AWS_ENDPOINT_URL_S3": "http://b:2", "KUBETUNER_S3_ENDPOINT": "http://c:3"}, "http://c:3"),
    ],
)
def test_the_nearest_endpoint_wins(tmp_path: Path, environment: dict[str, str], endpoint: str) -> None:
    assert find(KEYS | {"HOME": str(tmp_path)} | environment, path="p").endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["ftp://a:1", "http://", "http://a:1/path", "http://a:1?x=1", "http://user:word@a:1"])
def test_an_endpoint_that_is_none_is_named(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(SpecError, match=r"p: .*AWS_ENDPOINT_URL"):
        find(KEYS | {"HOME": str(tmp_path), "AWS_ENDPOINT_URL": endpoint}, path="p")


def test_the_files_tell_what_the_environment_does_not(tmp_path: Path) -> None:
    home = files(
        tmp_path,
        "[default]\naws_access_key_id = a\naws_secret_access_key = b%c\naws_session_token = d\n",
        "[default]\nendpoint_url = http://file:1\nregion = here\n[profile other]\naws_access_key_id = x\naws_secret_access_key = y\n",
    )
    found = find(home, path="p")
    assert (found.endpoint, found.region) == ("http://file:1", "here")
    assert (found.access_key, found.secret_key, found.session_token) == ("a", "b%c", "d")
    other = find(home | {"AWS_PROFILE": "other"}, path="p")
    assert (other.access_key, other.secret_key, other.session_token, other.region) == ("x", "y", None, None)
    set_ = find(home | KEYS | {"AWS_REGION": "there"}, path="p")
    assert (set_.access_key, set_.session_token, set_.region) == ("id", None, "there")


def test_minio_s_own_names_are_known(tmp_path: Path) -> None:
    found = find({"HOME": str(tmp_path), "MINIO_ACCESS_KEY": "m", "MINIO_SECRET_KEY": "n"}, path="p")
    assert (found.access_key, found.secret_key) == ("m", "n")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "there are no credentials"),
        ({"AWS_ACCESS_KEY_ID": "id"}, "AWS_SECRET_ACCESS_KEY is not"),
        ({"MINIO_SECRET_KEY": "n"}, "MINIO_ACCESS_KEY is not"),
        ({"AWS_PROFILE": "nobody"}, "nobody"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "/"}, "cannot be read"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, environment: dict[str, str], words: str) -> None:
    with pytest.raises(SpecError, match=rf"p: .*{words}"):
        find({"HOME": str(tmp_path)} | environment, path="p")


def test_a_secret_is_not_printed(tmp_path: Path) -> None:
    assert "secret" not in repr(find(KEYS | {"HOME": str(tmp_path)}, path="p")).replace("secret_key", "")


@pytest.mark.parametrize(("given", "style"), [("", None), ("1", True), ("0", False)])
def test_the_bucket_s_place_can_be_told(tmp_path: Path, given: str, style: bool | None) -> None:
    assert find(KEYS | {"HOME": str(tmp_path), "KUBETUNER_S3_PATH_STYLE": given}, path="p").path_style is style


def test_a_bucket_s_place_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="KUBETUNER_S3_PATH_STYLE"):
        find(KEYS | {"HOME": str(tmp_path), "KUBETUNER_S3_PATH_STYLE": "yes"}, path="p")
