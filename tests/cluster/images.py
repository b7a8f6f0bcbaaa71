"""The images of the cluster: the project's own, from Dockerfiles/, by buildah; made without a container engine or a registry.

They are kept in the user's cache: buildah's layers, so that what has not changed is not built again, and a disk of containerd's with all of
them, which each node starts with.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.cluster import base_image, binaries, needs, network
from tests.cluster.machine import Machine
from tests.cluster.oci_layout import Layout
from tests.cluster.processes import ClusterError
from tests.cluster.runtime import PAUSE, Runtime, drop_layers, images_held, set_layers_apart

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster

_ROOT: Final = Path(__file__).parents[2]
_BASE: Final = f"localhost/python:{base_image.PYTHON}"
# The host's certificates and pip settings, lent to the build: neither Dockerfile nor image knows the registry.
_LENT: Final = ("/etc/ssl/certs", "/etc/pip.conf")
_LARGEST_FOR_A_NODE: Final = 2 << 30  # bytes; at its start a node links the images, but what it takes in later is its own
_HELD: Final = "held.json"
_PACKED_LITTLE: Final = ("--compression-format=gzip", "--compression-level=1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: of a Dockerfile, of one program and nothing else, or, where it has neither, the base of the others."""

    tag: str
    dockerfile: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    program: str = ""


IMAGES: Final[dict[str, Image]] = {
    "python": Image(tag=_BASE),
    "pause": Image(tag=PAUSE, program="pause"),
    "minio": Image(tag="localhost/minio:1", program="minio"),
    "controller": Image(tag="localhost/kubetuner/controller:test", dockerfile="controller.Dockerfile"),
    "ingest": Image(tag="localhost/kubetuner/ingest:test", dockerfile="ingest.Dockerfile"),
    "stage": Image(tag="localhost/kubetuner/stage:test", dockerfile="stage.Dockerfile"),
}


def make(cluster: Cluster, names: Sequence[str] = ()) -> None:
    """Build images, all where none is named, and give them to the nodes: to those that run, and to those that will."""
    if missing := needs.for_images():
        raise ClusterError("images cannot be built; missing:\n  " + "\n  ".join(missing))
    if unknown := set(names) - IMAGES.keys():
        raise ClusterError(f"no image is called {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")
    with images_held(cluster.image_folder):
        _make(cluster, [IMAGES[name] for name in names or IMAGES])


def _make(cluster: Cluster, chosen: Sequence[Image]) -> None:
    folder = cluster.image_folder
    _buildah(folder, "rm", "--all")  # what builds left that did not end well: gigabytes
    for image in chosen:
        print(f"building {image.tag}", file=sys.stderr, flush=True)
        _build(folder, image)
    _buildah(folder, "rmi", "--prune", "--force")  # what the new ones are not made of
    made = _identities(folder)
    held = _held(folder)
    tags = [image.tag for image in chosen if held.get(image.tag) != made[image.tag]]
    if tags:
        _give(cluster, tags)
        (folder / _HELD).write_text(json.dumps(held | {tag: made[tag] for tag in tags}))


def _give(cluster: Cluster, tags: Sequence[str]) -> None:
    """Bring images that are built to the nodes: to those that run, and to those that will."""
    folder = cluster.image_folder
    for tag in tags:
        # It packs layers whatever it is told; but little.
        _buildah(folder, "push", "--quiet", *_PACKED_LITTLE, tag, f"oci:{folder / 'layout'}:{tag}")
        Layout(folder=folder / "layout").unpack(tag)
    Layout(folder=folder / "layout").tidy()
    disk = Runtime(machine=Machine(folder=folder), number=1)
    disk.machine.boot()
    try:
        disk.up()
        _load(folder, disk, tags)
    finally:
        disk.machine.shut_down()
    _share(folder)
    set_layers_apart(disk.machine, folder / "layers")
    if not network.is_up():
        drop_layers(disk.machine, folder / "layers")
    for node in cluster.nodes:
        if node.machine.on:
            _load(folder, node.runtime, tags)


def _identities(folder: Path) -> dict[str, str]:
    """What buildah has: digests by tag."""
    rows = _buildah(folder, "images", "--no-trunc", "--format", "{{.Name}}:{{.Tag}} {{.ID}}").splitlines()
    return dict(row.split() for row in rows)


def _held(folder: Path) -> dict[str, str]:
    """What the disk has that nodes start with: digests by tag."""
    file = folder / _HELD
    found: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    return found


def _load(folder: Path, runtime: Runtime, tags: Sequence[str]) -> None:
    layout, held = Layout(folder=folder / "layout"), runtime.blobs()
    if runtime.machine.folder != folder and layout.size(tags, without=held) > _LARGEST_FOR_A_NODE:
        print(f"{runtime.machine.folder.name} takes {', '.join(tags)} when the cluster is next started", file=sys.stderr)
        return
    with runtime.loading() as archive:
        layout.archive(tags, archive, without=held)


def _share(folder: Path) -> None:
    """Keep the bytes once that the layout and the disk of images both have."""
    for blob in (Machine(folder=folder).own("/var/lib/containerd") / "io.containerd.content.v1.content/blobs/sha256").iterdir():
        twin = folder / "layout" / "blobs" / "sha256" / blob.name
        if twin.exists() and not twin.samefile(blob):
            twin.unlink()
            twin.hardlink_to(blob)


def _build(folder: Path, image: Image) -> None:
    if image.program:
        _wrap(folder, image.tag, binaries.path(image.program), f"/usr/bin/{image.program}")
        return
    if _BASE not in _buildah(folder, "images", "--format", "{{.Name}}:{{.Tag}}").split():
        _unpack_base(folder)
    if not image.dockerfile:
        return
    lent = [f"--volume={path}:{path}:ro" for path in _LENT if Path(path).exists()]
    arguments = [f"--build-arg={name}={value}" for name, value in {"BASE": _BASE, **image.arguments}.items()]
    dockerfile = _ROOT / "Dockerfiles" / image.dockerfile
    _buildah(
        folder, "bud", "--isolation=chroot", "--layers", *lent, *arguments, "--file", dockerfile, "--tag", image.tag, _ROOT, shown=True
    )


def _unpack_base(folder: Path) -> None:
    container = _buildah(folder, "from", "scratch").strip()
    _buildah(folder, "add", "--quiet", container, base_image.archive(), "/")
    _buildah(folder, "config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--cmd", "python", container)
    _buildah(folder, "commit", "--quiet", "--rm", container, _BASE)


def _wrap(folder: Path, tag: str, program: Path, place: str) -> None:
    """An image of one static program, unless it is there: the program's folder is named by what it is made of."""
    label = f"dev.kubetuner.program={program.parent.name}"
    if _buildah(folder, "images", "--quiet", "--filter", f"reference={tag}", "--filter", f"label={label}").strip():
        return
    container = _buildah(folder, "from", "scratch").strip()
    _buildah(folder, "copy", "--quiet", "--chmod=0755", container, program, place)
    _buildah(folder, "config", "--entrypoint", f'["{place}"]', "--user", "65534:65534", "--label", label, container)
    _buildah(folder, "commit", "--quiet", "--rm", "--timestamp=0", container, tag)


def _buildah(folder: Path, *arguments: str | Path, shown: bool = False) -> str:
    """What buildah prints; its words are shown where a build may fail for reasons of the Dockerfile's."""
    store: list[str | Path] = ["--root", folder / "buildah", "--runroot", folder / "buildah-run", "--storage-driver=overlay"]
    command: list[str | Path] = ["nice", "-n", "19", "buildah", *store, *arguments]
    done = subprocess.run(
        command, stdout=sys.stderr if shown else subprocess.PIPE, stderr=None if shown else subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"buildah {' '.join(map(str, arguments))} ended with {done.returncode}: {done.stderr or 'see above'}")
    return done.stdout or ""
