"""Where the object server is and who we are there: from the environment or the AWS files, never from a run.

endpoint     KUBETUNER_S3_ENDPOINT, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, `endpoint_url` in the files; Amazon's where none is set
credentials  AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), MINIO_ACCESS_KEY with MINIO_SECRET_KEY, the files
region       AWS_REGION, AWS_DEFAULT_REGION, `region` in the files; asked of the server where none is set
files        ~/.aws/credentials and ~/.aws/config (AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE), profile `default` or AWS_PROFILE
authority    AWS_CA_BUNDLE: a file of certificates, for servers with one of their own
path style   KUBETUNER_S3_PATH_STYLE: 1 for http://host/bucket/key, 0 for http://bucket.host/key; where not set, 0 for Amazon's alone
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kubetuner.errors import SpecError

_AMAZON: Final = "https://s3.amazonaws.com"
_ENDPOINTS: Final = ("KUBETUNER_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_KEYS: Final = (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """An object server and the right to use it."""

    host: str
    """Host with its port."""
    secure: bool
    """Whether it is spoken to over TLS."""
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False, default=None)
    region: str | None = None
    authority: str | None = None
    """File of certificates to trust; None for the system's."""
    path_style: bool | None = None
    """Whether the bucket stands in the path, not in the host's name; None for what is usual with this host."""

    @property
    def endpoint(self) -> str:
        """Address of the server."""
        return f"{'https' if self.secure else 'http'}://{self.host}"


def find(environment: Mapping[str, str], *, path: str) -> Access:
    """What the environment and the files say. Raises SpecError (at `path`) where they are incomplete or contradict themselves."""
    profile = _profile(environment, path)
    endpoint = next((value for name in _ENDPOINTS if (value := environment.get(name))), profile.get("endpoint_url") or _AMAZON)
    address = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if address.scheme not in ("http", "https") or not address.hostname or address.path.strip("/") or address.query or address.username:
        raise SpecError(path, f"the object server's address {endpoint!r} is none; give AWS_ENDPOINT_URL as http://host:port")
    access_key, secret_key, session_token = _credentials(environment, profile, path)
    return Access(
        host=address.netloc,
        secure=address.scheme == "https",
        access_key=access_key,
        secret_key=secret_key,
        session_token=session_token,
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or profile.get("region"),
        authority=environment.get("AWS_CA_BUNDLE"),
        path_style=_path_style(environment.get("KUBETUNER_S3_PATH_STYLE", ""), path),
    )


def _path_style(given: str, path: str) -> bool | None:
    if given not in ("", "0", "1"):
        raise SpecError(path, f"KUBETUNER_S3_PATH_STYLE is {given!r}; set it to 1 or 0, or not at all")
    return given == "1" if given else None


def _credentials(environment: Mapping[str, str], profile: Mapping[str, str], path: str) -> tuple[str, str, str | None]:
    for key, secret, token in _KEYS:
        given = {name for name in (key, secret) if environment.get(name)}
        if len(given) == 1:
            [missing] = {key, secret} - given
            raise SpecError(path, f"{given.pop()} is set, but {missing} is not; set both, or neither to use the AWS files")
        if given:
            return environment[key], environment[secret], environment.get(token) or None
    if "aws_access_key_id" in profile and "aws_secret_access_key" in profile:
        return profile["aws_access_key_id"], profile["aws_secret_access_key"], profile.get("aws_session_token")
    raise SpecError(path, "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ~/.aws/credentials")


def _profile(environment: Mapping[str, str], path: str) -> dict[str, str]:
    """The profile's lines of both files; the credentials file wins, as with Amazon's own tools."""
    home = Path(environment.get("HOME") or Path.home())
    name = environment.get("AWS_PROFILE") or "default"
    config = Path(environment.get("AWS_CONFIG_FILE") or home / ".aws" / "config").expanduser()
    credentials = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials").expanduser()
    found = [_section(config, "default" if name == "default" else f"profile {name}", path), _section(credentials, name, path)]
    if environment.get("AWS_PROFILE") and not any(found):
        raise SpecError(path, f"AWS_PROFILE names {name!r}, which neither {config} nor {credentials} has; correct the name")
    return found[0] | found[1]


def _section(file: Path, name: str, path: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()  # secrets may hold %
    try:
        parser.read_string(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise SpecError(path, f"{file} cannot be read ({str(error).splitlines()[0]}); correct it") from error
    return dict(parser.items(name)) if parser.has_section(name) else {}
