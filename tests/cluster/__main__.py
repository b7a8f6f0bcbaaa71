"""A real Kubernetes cluster on this machine: two nodes with real containers, without systemd, Docker or a registry.

python -m tests.cluster up         control plane, nodes, MinIO; what runs already stays as it is; prints how to reach it. A machine that can
                                   run no containers gets one node whose pods are processes. With --images these are built first
python -m tests.cluster install    our chart in the namespace `kubetuner`, and a namespace `team` whose runs find the store
python -m tests.cluster down       ends and removes all of it, also after a crash; the images stay
python -m tests.cluster status     what runs
python -m tests.cluster build      the programs, from pinned modules (a quarter of an hour on two cores, once)
python -m tests.cluster images     the project's images, from Dockerfiles/; into the nodes too where they run
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.cluster import binaries, needs
from tests.cluster.cluster import Cluster
from tests.cluster.process_cluster import ProcessCluster
from tests.cluster.processes import ClusterError


def main() -> int:
    """The command; its exit code is 1 where it could not do all that was asked."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start the cluster")
    up.add_argument("--gpus", type=int, default=2, help="GPUs that each node offers (default: 2)")
    up.add_argument("--images", action="store_true", help="build the images first, where there are nodes to run them")
    verbs.add_parser("install", help="install the chart, with the images of this checkout")
    verbs.add_parser("down", help="end the cluster and remove it")
    verbs.add_parser("status", help="say what runs")
    verbs.add_parser("build", help="build the programs").add_argument("names", nargs="*", help="some (default: what a cluster needs)")
    verbs.add_parser("images", help="build the images").add_argument("names", nargs="*", help="some of them (default: all)")
    given = parser.parse_args()
    started = time.monotonic()
    try:
        return _do(given)
    except ClusterError as fault:
        print(f"{given.verb}: {fault}", file=sys.stderr)
        return 1
    finally:
        print(f"({time.monotonic() - started:.1f} s)", file=sys.stderr)


def _do(given: argparse.Namespace) -> int:
    if given.verb == "build":
        for name in given.names or binaries.OF_A_CLUSTER:
            print(binaries.build(name), flush=True)
    elif given.verb == "images":
        from tests.cluster import images  # the other verbs work without what images need

        images.make(Cluster(), given.names)
    elif given.verb == "down":
        Cluster().down()
    elif given.verb == "status":
        return _status(Cluster())
    elif given.verb == "install":
        _install(Cluster())
    else:
        _up(Cluster(gpus=given.gpus), with_images=given.images)
    return 0


def _up(cluster: Cluster, *, with_images: bool) -> None:
    if needs.for_control_plane():
        raise ClusterError("missing:\n  " + "\n  ".join(needs.for_control_plane()))
    if missing := needs.for_nodes():
        print("This machine can run no nodes; missing:", *missing, sep="\n  ", file=sys.stderr)
        print("In their place comes one node whose pods are processes: no containers, no second node, no policies.", file=sys.stderr)
        _build(cluster.of_processes.programs)
        cluster.of_processes.up()
        print(f"The logs of its pods are in {cluster.of_processes.logs}", file=sys.stderr)
        _tell(cluster.of_processes)
        return
    _build(binaries.OF_A_CLUSTER)
    if with_images:
        from tests.cluster import images  # what runs without them does without what they need

        images.make(cluster)
    cluster.up()
    _tell(cluster)


def _build(names: Sequence[str]) -> None:
    for name in binaries.missing(tuple(names)):
        print(f"building {name}", file=sys.stderr, flush=True)
        binaries.build(name)


def _tell(cluster: Cluster | ProcessCluster) -> None:
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    print(f"export PATH={binaries.folder()}:$PATH  # kubectl, helm, grpcurl")
    print(*(f"export {name}={value}" for name, value in cluster.store.environment.items()), sep="\n")


def _install(cluster: Cluster) -> None:
    from tests.cluster.release import Release  # the other verbs work without what the chart's tests need

    running = next((one for one in (cluster, cluster.of_processes) if one.is_up()), None)
    if running is None:
        raise ClusterError("no cluster runs; `python -m tests.cluster up` starts one")
    Release(cluster=running).install()


def _status(cluster: Cluster) -> int:
    parts = [*cluster.plane.parts, cluster.store.server, *cluster.of_processes.parts]
    rows = [(str((part.folder / part.name).relative_to(cluster.folder)), part.pid) for part in parts]
    rows += [(f"{node.name}/{name}", node.machine.pid(name)) for node in cluster.nodes for name in ("containerd", "kubelet", "fakegpu")]
    for name, pid in rows:
        print(f"{name:36} {pid or '-'}")
    return 0 if cluster.is_up() or cluster.of_processes.is_up() else 1


if __name__ == "__main__":
    sys.exit(main())
