"""What a machine must have to be a cluster, and what is left where it has not.

python3 -m tests.cluster.needs    says what is missing, and prints Debian's packages of it; its exit code is 1 where anything is
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

from tests import golang

# program -> (Debian's package of it, what it is for)
_PROGRAMS: Final[dict[str, tuple[str, str]]] = {
    "runc": ("runc", "runs containers"),
    "nft": ("nftables", "makes Service addresses work"),
    "ip": ("iproute2", "makes the pods' network"),
    "unshare": ("util-linux", "makes machines of their own"),
    "nsenter": ("util-linux", "reaches into them"),
}
_FOR_IMAGES: Final[dict[str, tuple[str, str]]] = {
    "buildah": ("buildah", "builds images"),
    "debootstrap": ("debootstrap", "makes the image that they are built upon"),
}
_ISOLATED: Final = ("unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt")
_LEAST_FREE: Final = 30  # GiB; built they take 20, a build some more
_FOR_CONTROL_PLANE: Final[dict[str, tuple[str, str]]] = {"openssl": ("openssl", "makes certificates")}


def main() -> int:
    """Say what is missing for all of it."""
    words = [*for_control_plane(), *for_nodes(), *for_images()]
    print(*dict.fromkeys(words), sep="\n", end="\n" if words else "", file=sys.stderr)
    rows = (_FOR_CONTROL_PLANE | _PROGRAMS | _FOR_IMAGES).items()
    packages = dict.fromkeys(package for name, (package, _) in rows if shutil.which(name) is None)
    print(*packages, sep="\n", end="\n" if packages else "")
    return 1 if words else 0


def for_nodes() -> list[str]:
    """What is missing to run nodes, in words; empty where nothing is."""
    missing = _absent(_PROGRAMS)
    if os.geteuid() != 0:
        missing.insert(0, "root: nodes make namespaces, mounts and network devices")
    elif not missing and subprocess.run(_ISOLATED, capture_output=True, check=False).returncode:
        missing.append("rights: this root may make no namespaces; it may be that of a container")
    return missing


def for_images() -> list[str]:
    """What is missing to build images, in words; empty where nothing is."""
    return [*([] if os.geteuid() == 0 else ["root: images are built with other users' files"]), *_absent(_FOR_IMAGES), *_room()]


def for_control_plane() -> list[str]:
    """What is missing to run a control plane, in words; empty where nothing is."""
    return _absent(_FOR_CONTROL_PLANE)


def _room() -> list[str]:
    cache = golang.cache_root()
    free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.exists())).free >> 30
    if free >= _LEAST_FREE or any(cache.glob("cluster-images-*/held.json")):  # those that were built before are built on
        return []
    return [f"disk: {free} GiB are free at {cache} and images take {_LEAST_FREE} (free some, or set XDG_CACHE_HOME to a larger disk)"]


def _absent(programs: dict[str, tuple[str, str]]) -> list[str]:
    rows = [(name, *rest) for name, rest in programs.items() if shutil.which(name) is None]
    return [f"{name}: {purpose} (apt-get install {package})" for name, package, purpose in rows]


if __name__ == "__main__":
    sys.exit(main())
