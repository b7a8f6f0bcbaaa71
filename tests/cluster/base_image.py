"""The image that the project's images are built upon where no registry can be reached: Debian's Python, made by debootstrap.

It takes the place of the Dockerfiles' default BASE, the official slim image of the same Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tests import golang

SUITE: Final = "bookworm"
PYTHON: Final = "3.11"
_PACKAGES: Final = ("python3", "python3-pip", "python3-venv", "ca-certificates")
_UNUSED: Final = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale")


def archive() -> Path:
    """A tar of its files, made now where it is not cached (a minute or two)."""
    cached = golang.cache_folder("python-base", [Path(__file__)]) / "base.tar"
    if cached.exists():
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
        root = Path(folder) / "root"
        command: list[str | Path] = ["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", SUITE, root, _mirror()]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for name in _UNUSED:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True)
        # As in the official image: `python` is there, and pip installs into it.
        (root / "usr/lib" / f"python{PYTHON}" / "EXTERNALLY-MANAGED").unlink()
        (root / "usr/bin/python").symlink_to("python3")
        whole = Path(folder) / "base.tar"
        subprocess.run(["tar", "--create", "--numeric-owner", "--sort=name", "--file", whole, "--directory", root, "."], check=True)
        whole.replace(cached)
    return cached


def _mirror() -> str:
    """The address that this machine's apt takes packages from."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    sites = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return next((site for site in sites if "security" not in site), os.environ.get("DEBIAN_MIRROR", ""))


if __name__ == "__main__":
    print(archive())
