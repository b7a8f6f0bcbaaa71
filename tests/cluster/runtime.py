"""containerd on a machine: its configuration, its start, and the images that it holds."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.cluster import binaries, network
from tests.cluster.machine import Machine
from tests.cluster.processes import alone

PAUSE: Final = "localhost/pause:1"
SOCKET: Final = "/run/containerd/containerd.sock"
_DISK: Final = "/var/lib/containerd"
_LAYERS: Final = "io.containerd.snapshotter.v1.overlayfs/snapshots"
_CONFIGURATION: Final = """\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
imports = []
disabled_plugins = [
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp", "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
]

[grpc]
address = "{socket}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
Root = "/run/containerd/runc"

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{plugins}"]
conf_dir = "/etc/cni/net.d"
use_internal_loopback = true

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """containerd on a machine."""

    machine: Machine
    number: int
    """Which share of the pods' addresses is the machine's."""

    def up(self) -> None:
        """Start it where it does not run, and wait until it answers."""
        settings = self.machine.folder / "containerd.toml"
        runc = shutil.which("runc")
        settings.write_text(_CONFIGURATION.format(socket=SOCKET, runc=runc, plugins=binaries.folder(), pause=PAUSE))
        (self.machine.own("/etc/cni/net.d") / "10-kubetuner.conflist").write_text(json.dumps(network.cni(self.number)))
        daemon = self.machine.start("containerd", [binaries.path("containerd"), "--config", settings, "--log-level", "warn"])
        daemon.until(self._answers, 300)

    @contextmanager
    def loading(self) -> Iterator[IO[bytes]]:
        """Take in the images of an OCI archive, as it is written: on the disk it would take as much as all of them."""
        # Without --local the archive passes through a transfer service at a fourth of the speed.
        with self.machine.feeding(*self._to_ctr("images", "import", "--local", "-")) as archive:
            yield archive

    def images(self) -> frozenset[str]:
        """Names of the images that it holds."""
        return frozenset(self._ctr("images", "list", "--quiet").split())

    def blobs(self) -> frozenset[str]:
        """Digests of the objects that it holds."""
        return frozenset(self._ctr("content", "list", "--quiet").split())

    def _answers(self) -> bool:
        # The socket is in the machine's own /run, which the host sees as a folder of it.
        try:
            return bool(self._ctr("version"))
        except AssertionError:
            return False

    def _ctr(self, *arguments: str | Path) -> str:
        return self.machine.run(*self._to_ctr(*arguments))

    def _to_ctr(self, *arguments: str | Path) -> Sequence[str | Path]:
        return [binaries.path("ctr"), "--address", SOCKET, "--namespace", "k8s.io", *arguments]


def images_held(folder: Path) -> AbstractContextManager[None]:
    """Nobody else changes the images that are kept in this folder, or copies them, meanwhile."""
    return alone(folder / "lock")


def set_layers_apart(machine: Machine, layers: Path) -> None:
    """Move the layers of a machine that is off into a folder, and leave links to them: a hundred thousand files less in each copy."""
    layers.mkdir(exist_ok=True)
    for place in (machine.own(_DISK) / _LAYERS).iterdir():
        if not place.is_symlink():
            place.rename(layers / place.name)
            place.symlink_to(layers / place.name)


def drop_layers(machine: Machine, layers: Path) -> None:
    """Remove layers that the machine has no more; its copies must be gone."""
    for place in layers.iterdir():
        if not (machine.own(_DISK) / _LAYERS / place.name).is_symlink():
            shutil.rmtree(place)


def copy_images(source: Machine, target: Machine) -> None:
    """Give a machine that has none, and is off, the images of another that is off.

    Data is linked, not copied: containerd never changes a file of an image once it is there. Its databases are copied.
    """
    disk = target.own(_DISK)
    if disk.exists() or not source.own(_DISK).exists():
        return
    disk.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", "--link", source.own(_DISK), disk], check=True)
    for database in disk.rglob("*.db"):
        database.unlink()
        shutil.copy2(source.own(_DISK) / database.relative_to(disk), database)
