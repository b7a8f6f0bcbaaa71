"""What all tests share: a tiny SDXL made once, a MinIO server started once, and the rule for tests that need a thing from outside.

A test that needs a browser or MinIO says so by `@pytest.mark.needs("browser")`. It runs where the thing is at hand and where its
variable demands it (as in .ci/run); elsewhere it is left out, and the summary says so.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests import builders
from tests.chart import helm
from tests.cluster import binaries
from tests.cluster.control_plane import ControlPlane
from tests.minio import binary
from tests.minio.server import Server

settings.register_profile("kubetuner", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault
settings.load_profile("kubetuner")

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_browser() -> str | None:
    """Path of a Chromium or Chrome, or None."""
    return next((path for name in _BROWSERS if (path := shutil.which(name)) is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A thing from outside that some tests need."""

    at_hand: Callable[[], bool]
    variable: str
    """Set in the environment, it demands the thing: its tests run, and fail where it is not there."""
    words: str
    """Why tests were left out, and the cure."""


NEEDS: Final = {
    "browser": Need(
        at_hand=lambda: find_browser() is not None,
        variable="KUBETUNER_REQUIRE_BROWSER",
        words="there is no browser; install chromium",
    ),
    "minio": Need(
        at_hand=binary.at_hand,
        variable="KUBETUNER_REQUIRE_MINIO",
        words="there is neither a built MinIO server nor Go; install Go, or run `python -m tests.minio.binary` once",
    ),
    "apiserver": Need(
        at_hand=lambda: not binaries.missing(ControlPlane(folder=Path()).programs),
        variable="KUBETUNER_REQUIRE_APISERVER",
        words="Kubernetes is not built; run `python -m tests.cluster build` once (a quarter of an hour on two cores)",
    ),
    "helm": Need(
        at_hand=helm.at_hand,
        variable="KUBETUNER_REQUIRE_HELM",
        words="there is no helm 4 on PATH, and no package with one for this machine; install helm",
    ),
}
_LEFT_OUT: Final = pytest.StashKey[Counter[str]]()


@pytest.fixture(scope="session")
def browser() -> str:
    """Path of the browser; fails where KUBETUNER_REQUIRE_BROWSER asks for one that is not there."""
    path = find_browser()
    assert path is not None, f"KUBETUNER_REQUIRE_BROWSER is set, but none of {', '.join(_BROWSERS)} is on PATH"
    return path


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A MinIO server for the whole session; each test takes a bucket of its own."""
    with Server(binary.get(), tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tests' tiny SDXL; read only."""
    return builders.tiny_model(tmp_path_factory.mktemp("model") / "tiny-sdxl")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", f"needs(thing): runs only where the thing is at hand; one of {', '.join(NEEDS)}")
    config.stash[_LEFT_OUT] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests whose thing is neither at hand nor demanded."""
    lacking = {name for name, need in NEEDS.items() if not need.at_hand() and not os.environ.get(need.variable)}
    left_out = {item: mark.args[0] for item in items for mark in item.iter_markers("needs") if mark.args[0] in lacking}
    if left_out:
        config.stash[_LEFT_OUT].update(left_out.values())
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out."""
    for name, count in config.stash[_LEFT_OUT].items():
        terminalreporter.write_line(f"left out: {count} tests that need {name}: {NEEDS[name].words} to run them")
