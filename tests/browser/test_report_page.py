"""The report page in a real headless Chromium: on a phone and a desk, in light and dark, used by pointer and keyboard."""

from __future__ import annotations

import html
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from kubetuner.evaluate.core import page
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from tests.builders import run_document
from tests.reports import a_report

pytestmark = pytest.mark.needs("browser")

LONG = "a_photograph_of_" + "averylongwordwithoutanyspace" * 6
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
    "--virtual-time-budget=4000",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page")
    report = a_report(prompts=("a photograph of a camera", LONG), notice="The weights of this model are random.")
    (path / "page.html").write_text(page.render(report, resolve(parse_run(run_document()))), "utf-8")
    (path / "harness.html").write_text((Path(__file__).parent / "harness.html").read_text("utf-8"), "utf-8")
    return path


def look(browser: str, folder: Path, *, width: int, dark: bool = False) -> tuple[dict[str, Any], str]:
    """What the harness found, and what the browser logged."""
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    address = f"file://{folder}/harness.html?width={width}"
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as profile:  # of its own: a browser may end late
        command = [browser, *FLAGS, scheme, f"--user-data-dir={profile}", "--dump-dom", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    assert found[1], done.stderr[-2000:]
    return json.loads(html.unescape(found[1])), done.stderr


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_page_fits_and_works_at_every_width(browser: str, folder: Path, width: int) -> None:
    found, log = look(browser, folder, width=width)
    assert found["width"] == width
    assert found["scrollWidth"] <= width
    assert found["smallestLabel"] >= 11.5
    assert (found["images"], found["broken"]) == (8, 0)
    assert found["enlarged"]
    assert found["closed"]
    assert re.fullmatch(r"step \d+ · each step [\d.]+ · mean of \d+ [\d.]+", found["readout"])
    assert found["next"] != found["readout"]
    assert "CONSOLE" not in log


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with small pictures beside the true ones, two strengths and a contact sheet."""
    path = tmp_path_factory.mktemp("compared")
    captions = (*(f"a lineart emoji of a thing {number}" for number in range(8)), LONG)
    report = a_report(prompts=("a red house",), compared=captions, sheet=captions * 4)
    (path / "page.html").write_text(page.render(report, resolve(parse_run(run_document()))), "utf-8")
    (path / "harness.html").write_text((Path(__file__).parent / "harness.html").read_text("utf-8"), "utf-8")
    return path


@pytest.mark.parametrize(("width", "rows"), [(320, 1), (390, 1), (1280, 3)])
def test_slider_shows_each_strength_in_place(browser: str, compared: Path, width: int, rows: int) -> None:
    found, log = look(browser, compared, width=width)
    assert found["scrollWidth"] <= width
    assert found["broken"] == 0
    slide = found["slide"]
    assert slide["visible"]
    assert slide["focused"]
    assert [stop["words"] for stop in slide["stops"]] == ["0 – the base model", "0.5", "1 – as trained"]
    assert [stop["shown"] for stop in slide["stops"]] == [["base", f"LoRA × {scale}", "true"] for scale in ("0", "0.5", "1")]
    assert [stop["likeBase"] for stop in slide["stops"]] == [True, False, False]
    assert [stop["says"] for stop in slide["stops"]] == ["Base model", "Tuned model at strength 0.5", "Tuned model"]
    assert int(min(width, 1080) / slide["wide"]) == rows
    assert "CONSOLE" not in log


@pytest.mark.parametrize("dark", [False, True])
def test_small_pictures_leave_all_text_readable(browser: str, compared: Path, dark: bool) -> None:
    assert look(browser, compared, width=1280, dark=dark)[0]["faint"] == []


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_readable_in_light_and_dark(browser: str, folder: Path, dark: bool) -> None:
    found, _ = look(browser, folder, width=1280, dark=dark)
    shade = sum(map(int, re.findall(r"\d+", found["background"])[:3]))
    assert (shade < 120) if dark else (shade > 650)
    assert found["faint"] == []


def test_nothing_is_asked_of_the_network(browser: str, folder: Path) -> None:
    found, _ = look(browser, folder, width=800)
    assert [name for name in found["resources"] if not name.startswith("data:")] == []


def test_headings_are_nested(browser: str, folder: Path) -> None:
    found, _ = look(browser, folder, width=801)
    assert found["headings"].startswith("H1 H2 H3 H3 H2 H2 H2")
