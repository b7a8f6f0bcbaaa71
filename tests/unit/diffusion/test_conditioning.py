"""SDXL's six numbers."""

import pytest

from kubetuner.diffusion.conditioning import Geometry

ROW = Geometry(
    width=1920, height=1080, resized_width=1365, resized_height=768, crop_top=0, crop_left=10, target_width=1344, target_height=768
)


@pytest.mark.parametrize(
    ("original_size", "expected"), [("source", (1080, 1920, 0, 10, 768, 1344)), ("resized", (768, 1365, 0, 10, 768, 1344))]
)
def test_time_ids_are_original_size_crop_and_target(original_size: str, expected: tuple) -> None:
    assert ROW.time_ids(original_size) == expected
