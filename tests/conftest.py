"""What all tests share: a tiny SDXL made once, and the rule for tests that need a browser.

Tests in tests/browser need Chromium, which only root can install: they run where it is found and where KUBETUNER_REQUIRE_BROWSER is
set (as in .ci/run); elsewhere they are left out, and the summary says so.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests import builders

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_BROWSER_TESTS: Final = Path(__file__).parent / "browser"
_LEFT_OUT: Final = pytest.StashKey[int]()


def find_browser() -> str | None:
    """Path of a Chromium or Chrome, or None."""
    return next((path for name in _BROWSERS if (path := shutil.which(name)) is not None), None)


@pytest.fixture(scope="session")
def browser() -> str:
    """Path of the browser; fails where KUBETUNER_REQUIRE_BROWSER asks for one that is not there."""
    path = find_browser()
    assert path is not None, f"KUBETUNER_REQUIRE_BROWSER is set, but none of {', '.join(_BROWSERS)} is on PATH"
    return path


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tests' tiny SDXL; read only."""
    return builders.tiny_model(tmp_path_factory.mktemp("model") / "tiny-sdxl")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the browser's tests where there is none and none is demanded."""
    if find_browser() is not None or os.environ.get("KUBETUNER_REQUIRE_BROWSER"):
        return
    left_out = [item for item in items if item.path.is_relative_to(_BROWSER_TESTS)]
    if left_out:
        config.stash[_LEFT_OUT] = len(left_out)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out."""
    count = config.stash.get(_LEFT_OUT, 0)
    if count:
        terminalreporter.write_line(
            f"left out, as there is no browser: {count} of the report page's tests; install chromium to run them (.ci/run does)"
        )
