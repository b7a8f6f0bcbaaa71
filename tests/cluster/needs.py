"""What a machine must have to be a cluster, and what is left where it has not."""

from __future__ import annotations

import os
import shutil
from typing import Final

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


def for_nodes() -> list[str]:
    """What is missing to run nodes, in words; empty where nothing is."""
    return [*([] if os.geteuid() == 0 else ["root: nodes make namespaces, mounts and network devices"]), *_absent(_PROGRAMS)]


def for_images() -> list[str]:
    """What is missing to build images, in words; empty where nothing is."""
    return [*([] if os.geteuid() == 0 else ["root: images are built with other users' files"]), *_absent(_FOR_IMAGES)]


def for_control_plane() -> list[str]:
    """What is missing to run a control plane, in words; empty where nothing is."""
    return _absent({"openssl": ("openssl", "makes certificates")})


def _absent(programs: dict[str, tuple[str, str]]) -> list[str]:
    rows = [(name, *rest) for name, rest in programs.items() if shutil.which(name) is None]
    return [f"{name}: {purpose} (apt-get install {package})" for name, package, purpose in rows]
