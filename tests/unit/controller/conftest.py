"""Quiet logs: a thousand schedules say a lot."""

from __future__ import annotations

import pytest

from kubetuner import log


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    log.configure("error")
