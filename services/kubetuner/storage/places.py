"""Addresses that a run names: where pictures and models lie, on whatever machine a stage runs.

photographs, /data/x        a folder; relative ones start at the run's file
volume://claim/path         a folder of a mounted volume: $KUBETUNER_VOLUMES/claim/path (default /volumes)
store:datasets/photographs  what lies below a prefix of the run's own store
s3://bucket/prefix          an object server: the one of the environment, or of a Secret: a folder $KUBETUNER_SECRETS/<name>
                            (default /var/run/secrets/kubetuner.dev) with files endpoint, accessKey, secretKey, region
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from kubetuner.errors import ArtifactError, SpecError
from kubetuner.storage.below import Below
from kubetuner.storage.store import ObjectStore, open_store, silent

STORE: Final = "store:"
VOLUME: Final = "volume://"
S3: Final = "s3://"
_SECRETS: Final = "/var/run/secrets/kubetuner.dev"
_VOLUMES: Final = "/volumes"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_KEYS: Final = {
    "endpoint": "KUBETUNER_S3_ENDPOINT",
    "accessKey": "AWS_ACCESS_KEY_ID",
    "secretKey": "AWS_SECRET_ACCESS_KEY",
    "region": "AWS_REGION",
}
_ALSO: Final = ("AWS_CA_BUNDLE", "SSL_CERT_FILE")


def open_source(
    uri: str,
    *,
    path: str,
    base: Path,
    store: ObjectStore | None,
    secret: str = "",
    environment: Mapping[str, str] = os.environ,
    note: Callable[[str], None] = silent,
) -> ObjectStore:
    """What lies at an address of a run, to be read only. `store` is the run's own, `secret` names the Secret of an s3:// address.

    Raises SpecError at `path` where there can be nothing.
    """
    if uri.startswith(STORE):
        if store is None:
            raise SpecError(path, f"{uri!r} lies in the run's store, and there is none here; give --store")
        return Below(store, prefix_of(uri, path))
    if uri.startswith(VOLUME):
        return open_store(str(volume_folder(uri, path, environment)), path=path, create=False)
    if uri.startswith(S3) and secret:
        from kubetuner.storage.minio import MinioStore

        return MinioStore.from_uri(uri, path=path, environment=_of_secret(secret, path, environment), note=note)
    return open_store(uri, path=path, base=base, create=False, note=note)


def prefix_of(uri: str, path: str) -> str:
    """The prefix that a store: address names. Raises SpecError where it is none."""
    prefix = uri.removeprefix(STORE).removeprefix("//").strip("/")
    try:
        Below(_NOTHING, prefix)
    except ArtifactError as error:
        raise SpecError(path, f"{uri!r} names no part of a store; give store:datasets/NAME or store:models/NAME") from error
    return prefix


def volume_folder(uri: str, path: str, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of a volume:// address on this machine. Raises SpecError where the address is none or the volume is not mounted."""
    claim, _, below = uri.removeprefix(VOLUME).partition("/")
    if not _NAME.fullmatch(claim) or ".." in below.split("/") or "\0" in below:
        raise SpecError(path, f"{uri!r} names no volume; give volume://CLAIM/PATH, with the PersistentVolumeClaim's name and no `..`")
    mounted = Path(environment.get("KUBETUNER_VOLUMES") or _VOLUMES) / claim
    if not mounted.is_dir():
        raise SpecError(path, f"{uri!r}: {mounted} is not there; mount the volume {claim!r} there, or set KUBETUNER_VOLUMES")
    return mounted / below.strip("/")


def secret_value(secret: str, key: str, path: str, environment: Mapping[str, str] = os.environ) -> str:
    """A key of a Secret that is mounted here; empty where it has none such. Raises SpecError where the Secret is not there."""
    folder = Path(environment.get("KUBETUNER_SECRETS") or _SECRETS) / secret
    if not _NAME.fullmatch(secret) or not folder.is_dir():
        raise SpecError(path, f"the Secret {secret!r} is not there ({folder}); create it in the run's namespace, or set KUBETUNER_SECRETS")
    try:
        return (folder / key).read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(path, f"{key} of the Secret {secret!r} cannot be read ({error}); correct it") from error


def _of_secret(secret: str, path: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment would say of the server that a Secret tells of; the AWS files are left out."""
    field = path.rpartition(".")[0] + ".secret"
    found = {variable: secret_value(secret, key, field, environment) for key, variable in _KEYS.items()}
    lacking = [key for key, variable in _KEYS.items() if key.endswith("Key") and not found[variable]]
    if lacking:
        raise SpecError(field, f"the Secret {secret!r} has no {' and no '.join(lacking)}; add what is missing")
    also = {name: environment[name] for name in _ALSO if name in environment}
    return {name: value for name, value in (found | also).items() if value} | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _nothing() -> ObjectStore:
    from kubetuner.storage.memory import MemoryStore

    return MemoryStore()


_NOTHING: Final = _nothing()
