"""SDXL's micro-conditioning (Podell et al. 2023, section 2.2): six numbers that tell the U-Net how a picture came to its size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How a picture was resized and cropped, in pixels; one row of the manifest."""

    width: int
    height: int
    resized_width: int
    resized_height: int
    crop_top: int
    crop_left: int
    target_width: int
    target_height: int

    def time_ids(self, original_size: str) -> tuple[int, int, int, int, int, int]:
        """(original height, width, crop top, left, target height, width).

        The original is the picture's own size (`source`), or its size after the resize (`resized`, SimpleTuner's way).
        """
        original = (self.height, self.width) if original_size == "source" else (self.resized_height, self.resized_width)
        return (*original, self.crop_top, self.crop_left, self.target_height, self.target_width)
