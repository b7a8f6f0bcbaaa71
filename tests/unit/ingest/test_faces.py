"""Crops by faces, on a real photograph: Eileen Collins, by NASA, in the public domain."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from kubetuner.errors import SpecError
from kubetuner.ingest.core import faces
from tests.unit.ingest.bench import Bench

PHOTOGRAPH = Path(__file__).parent / "astronaut.jpg"


def test_face_is_found_where_it_is() -> None:
    face = faces.find(Image.open(PHOTOGRAPH))
    assert face is not None
    assert face == pytest.approx((0.44, 0.23), abs=0.04)


def test_picture_without_a_face_has_none() -> None:
    assert faces.find(Image.new("RGB", (200, 200), "grey")) is None


def test_crop_is_around_the_face_and_a_second_run_looks_no_more(bench: Bench) -> None:
    wide = Image.new("RGB", (1280, 320), "grey")
    wide.paste(Image.open(PHOTOGRAPH), (640, 0))
    wide.save(bench.pictures / "a.png")
    options = {"crop": True, "resolution": 320, "cropStyle": "face"}
    bench.ingest(**{**options, "cropStyle": "centre"})
    (row,) = bench.rows(**options)
    assert bench.context.work["imagesRead"] == 1  # the first run looked for no face
    assert row["crop_left"] + 160 == pytest.approx(780, abs=20)
    bench.ingest(**options)
    assert bench.context.work["imagesRead"] == 0


def test_face_crop_without_a_detector_is_refused_in_words(bench: Bench) -> None:
    shutil.copy(PHOTOGRAPH, bench.pictures)
    with pytest.raises(SpecError, match=r"cropStyle: face needs OpenCV .*kubetuner\[face\]"):
        faces.require("spec.datasets[0].cropStyle", installed=False)
