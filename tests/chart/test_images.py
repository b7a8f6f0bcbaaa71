"""The images hold what their programs import, in the versions that the tests ran with, and no more of torch than is needed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import kubetuner

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "Dockerfiles"
IMAGES = ("controller", "ingest", "stage")
PROGRAMS = {
    "controller": ["kubetuner.controller.__main__"],
    "ingest": ["kubetuner.ingest.__main__"],
    "stage": ["kubetuner.embed.__main__", "kubetuner.train.__main__", "kubetuner.evaluate.__main__"],
}
# Imports a program's modules where nothing can be imported that its image does not hold.
_IMPORT = """
import importlib, pkgutil, sys
from importlib.machinery import PathFinder
refused, programs = set(sys.argv[1].split()), sys.argv[2:]
class Held:
    find_distributions = staticmethod(PathFinder.find_distributions)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in refused else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Held()
for name in programs:
    importlib.import_module(name)
    package = importlib.import_module(name.rpartition(".")[0])
    for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(one.name)
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(file: Path) -> dict[str, set[str]]:
    """Versions by package; some depend on the Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^ ;\\]+)", file.read_text(), re.MULTILINE):
        found.setdefault(normal(name), set()).add(version)
    return found


@pytest.mark.parametrize("image", IMAGES)
def test_versions_are_those_of_the_tests(image: str) -> None:
    tested = locked(ROOT / "requirements.lock")
    assert {
        name: versions for name, versions in locked(FOLDER / f"{image}.lock").items() if name in tested and versions != tested[name]
    } == {}
    assert set(locked(FOLDER / f"{image}.lock")) <= set(tested)


@pytest.mark.parametrize("image", ["controller", "ingest"])
def test_small_images_hold_no_torch(image: str) -> None:
    heavy = {"torch", "diffusers", "transformers", "accelerate", "peft", "triton"}
    assert not {name for name in locked(FOLDER / f"{image}.lock") if name in heavy or name.startswith("nvidia-")}


def test_the_controller_s_image_holds_no_tables_and_no_pictures() -> None:
    assert not {"pyarrow", "numpy", "pillow", "tokenizers", "huggingface-hub"} & set(locked(FOLDER / "controller.lock"))


@pytest.mark.parametrize("image", IMAGES)
def test_a_program_imports_only_what_its_image_holds(image: str) -> None:
    held = set(locked(FOLDER / f"{image}.lock"))
    owners = {top: {normal(one) for one in names} for top, names in packages_distributions().items()}
    refused = [top for top, names in owners.items() if not names & (held | {"kubetuner"}) and top.isidentifier()]
    command = [sys.executable, "-W", "error", "-c", _IMPORT, " ".join(refused), *PROGRAMS[image]]
    environment = {"PYTHONPATH": str(ROOT / "services"), "PATH": "", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("image", IMAGES)
def test_a_dockerfile_is_as_the_chart_needs_it(image: str) -> None:
    text = (FOLDER / f"{image}.Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    assert text.count("FROM ") == 1
    assert any(line.startswith("ARG BASE=docker.io/library/python:") for line in lines)
    assert "USER 65532:65532" in lines
    assert all("--require-hashes" in line and "--no-deps" in line for line in lines if "pip install" in line)
    assert [line for line in lines if line.startswith("COPY services")] == ["COPY services /opt/kubetuner/services"]
    packages, code = (next(n for n, line in enumerate(lines) if line.startswith(what)) for what in ("RUN python -m pip", "COPY services"))
    assert packages < code, "a change of our code shall not install the packages again"
    ours = {
        re.match(r"LABEL|ENV|ARG|COPY|RUN|USER|WORKDIR|EXPOSE|ENTRYPOINT|CMD|FROM", line)
        for line in lines
        if line and not line.startswith("#")
    }
    assert None not in ours


def test_builders_get_only_what_the_images_are_made_of() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored[0] == "*"
    copied = {
        source
        for image in IMAGES
        for line in (FOLDER / f"{image}.Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
    }
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    assert {source if not source.endswith(".lock") else "Dockerfiles/*.lock" for source in copied} == let_through


def test_chart_images_and_program_are_of_one_version() -> None:
    chart = (ROOT / "charts" / "kubetuner" / "Chart.yaml").read_text()
    found = {
        kubetuner.__version__,
        *re.findall(r"^(?:version|appVersion): (\S+)$", chart, re.MULTILINE),
        *re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE),
        *(version for image in IMAGES for version in re.findall(r'image\.version="(.*)"', (FOLDER / f"{image}.Dockerfile").read_text())),
    }
    assert found == {kubetuner.__version__}
