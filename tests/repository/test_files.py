"""Rules about the files of the repository itself; part of `make check`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REGISTRIES = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "download.pytorch" + ".org",
    "registry.npmjs" + ".org",
    "conda.anaconda" + ".org",
    "--index" + "-url",
    "--extra-index" + "-url",
    "--find" + "-links",
)
NOT_OURS = {".git", ".venv", "build", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis"}


def ours() -> list[Path]:
    """Files that git tracks or would track; all files where the tree is a copy without git."""
    if not (ROOT / ".git").exists():
        return sorted(path for path in _all() if path.is_file())
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def _all() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = set(folders) - NOT_OURS  # other tests write there meanwhile
        yield from (Path(folder, name) for name in files)


@pytest.mark.parametrize("address", REGISTRIES)
def test_no_file_names_a_package_registry(address: str) -> None:
    naming = [str(path.relative_to(ROOT)) for path in ours() if address.encode() in path.read_bytes()]
    assert naming == []


LOCKS = (
    "requirements.lock", "tests/material/materials.lock", "tests/minio/go.lock", "tests/chart/helm.lock",
    "Dockerfiles/controller.lock", "Dockerfiles/ingest.lock", "Dockerfiles/stage.lock",
)  # fmt: skip


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_is_pinned_with_hashes(lock: str) -> None:
    packages = (ROOT / lock).read_text().replace("\\\n", " ").splitlines()
    assert packages
    assert [line for line in packages if "==" not in line or "--hash=sha256:" not in line] == []


def test_no_file_of_the_source_is_longer_than_400_lines() -> None:
    generated = {ROOT / "services/kubetuner/v1alpha1", ROOT / "services/buf/validate"}
    sources = [path for path in ours() if path.suffix == ".py" and not generated & set(path.parents)]
    assert {str(path.relative_to(ROOT)): count for path in sources if (count := len(path.read_text().splitlines())) > 400} == {}
