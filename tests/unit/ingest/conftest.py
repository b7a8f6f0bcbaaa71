"""What the tests of ingest share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.ingest.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty folder `photographs` and an empty store."""
    return Bench(tmp_path)
