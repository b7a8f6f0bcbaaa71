"""Fixtures of the tests that need a cluster: the one that runs, or one for the session.

make test-cluster                             # all of it
python -m tests.cluster up; pytest tests/cluster; python -m tests.cluster down
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.door import Door
from tests.cluster.kubectl import Kubectl, until
from tests.cluster.laptop import Laptop
from tests.cluster.release import Release
from tests.cluster.scene import Scene


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with two nodes; one that ran before is used, mended and left running."""
    cluster = Cluster()
    ran = cluster.plane.parts[0].pid is not None
    if not ran:
        cluster.down()  # what a session left that was cut off
    cluster.up()
    yield cluster
    if not ran:
        cluster.down()


@pytest.fixture
def kubectl(cluster: Cluster) -> Kubectl:
    return cluster.kubectl


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, gone when it ends."""
    name = f"{request.node.originalname.replace('_', '-')[:50]}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    until(lambda: cluster.kubectl.get("serviceaccount", "default", name), "the namespace's ServiceAccount")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Release:
    """The chart, installed with the images of `python -m tests.cluster images`; it ends with the cluster."""
    release = Release(cluster=cluster)
    release.install()
    return release


@pytest.fixture(scope="session")
def laptop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """Data and model in a folder, and `kubetuner run` of what the chosen tests compare with; in the background."""
    laptop = Laptop(folder=tmp_path_factory.mktemp("laptop"))
    laptop.prepare()
    for module in dict.fromkeys(item.getparent(pytest.Module) for item in request.session.items):
        laptop.begin(getattr(getattr(module, "obj", None), "LAPTOP", {}))
    yield laptop
    laptop.close()


@pytest.fixture(scope="session")
def scene(laptop: Laptop, release: Release) -> Scene:
    """Data and model in the cluster's store too."""
    scene = Scene(release=release, laptop=laptop)
    scene.prepare()
    return scene


@pytest.fixture(scope="module")
def door(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Door:
    """RunService, as clients outside the cluster reach it: address and certificate are other ones when the chart is installed again."""
    return Door.of(release, tmp_path_factory.mktemp("door"))
