"""What a machine must have to be a cluster, and what is left where it has not.

python3 -m tests.cluster.needs    says what is missing, and prints Debian's packages of it; its exit code is 1 where anything is
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
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
_GROUPS: Final = Path("/sys/fs/cgroup")
_CONTROLLERS: Final = ("cpu", "cpuset", "memory", "pids")
_NAT: Final = "table ip tried {{ chain first {{ type nat hook prerouting priority -100; }}; }};"
# What the kernel, or a container around us, may not let this root do: tried in namespaces that end at once. {} is an empty folder.
_TRIED: Final[dict[str, str]] = {
    "namespaces": "unshare --mount --pid --fork mount -t tmpfs none /mnt",
    "network devices": "unshare --net sh -c 'ip link add kt0 type bridge && ip link add kt1 type veth peer name kt2'",
    "nftables with NAT": f"unshare --net nft '{_NAT}'",
    "overlayfs on this disk": "cd {} && mkdir a b c d && unshare --mount mount -t overlay -o lowerdir=a,upperdir=b,workdir=c none d",
    "a writable /proc/sys": "test -w /proc/sys/net/ipv4/ip_forward",
}
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
    elif not missing:
        missing += [*_refused(), *_no_groups()]
    return missing


def for_images() -> list[str]:
    """What is missing to build images, in words; empty where nothing is."""
    return [*([] if os.geteuid() == 0 else ["root: images are built with other users' files"]), *_absent(_FOR_IMAGES), *_room()]


def for_control_plane() -> list[str]:
    """What is missing to run a control plane, in words; empty where nothing is."""
    return _absent(_FOR_CONTROL_PLANE)


def _refused() -> list[str]:
    build = Path(__file__).parents[2] / "build"  # where nodes have their disks
    build.mkdir(exist_ok=True)
    said = {}
    for what, script in _TRIED.items():
        with tempfile.TemporaryDirectory(dir=build) as folder:
            said[what] = subprocess.run(script.format(shlex.quote(folder)), shell=True, capture_output=True, text=True, check=False)
    why = "this root may not have them, perhaps since it is that of a container"
    return [f"{what}: {why} ({done.stderr.strip()})" for what, done in said.items() if done.returncode]


def _no_groups() -> list[str]:
    """Whether control groups can be made, of version 2 or of version 1, with what a kubelet wants of them."""
    all_in_one = _GROUPS / "cgroup.controllers"
    there = all_in_one.read_text().split() if all_in_one.exists() else [name for name in _CONTROLLERS if (_GROUPS / name).is_dir()]
    if lacking := [name for name in _CONTROLLERS if name not in there]:
        return [f"control groups: {_GROUPS} has no {', '.join(lacking)}"]
    for place in [_GROUPS] if all_in_one.exists() else [_GROUPS / name for name in _CONTROLLERS]:
        try:
            Path(tempfile.mkdtemp(prefix="kubetuner-tried-", dir=place)).rmdir()
        except OSError as error:
            return [f"control groups: none can be made below {place} ({error.strerror})"]
    return []


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
