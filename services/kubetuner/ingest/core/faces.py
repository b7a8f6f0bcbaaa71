"""The largest face in a picture, by OpenCV's Haar cascade (Viola and Jones 2001), which comes with its package: nothing is downloaded."""

from __future__ import annotations

import functools
import importlib.util
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from kubetuner.errors import SpecError

_LONGER_EDGE: Final = 1024
_SMALLEST: Final = 0.04
"""Faces below this share of the longer edge are not looked for."""
_per_thread = threading.local()  # a cascade keeps its scratch memory in itself, so threads cannot share one


def require(path: str, *, installed: bool | None = None) -> None:
    """Raise SpecError for the field at `path` where no detector is installed."""
    if not (_installed() if installed is None else installed):
        raise SpecError(path, "face needs OpenCV 4, which is not here: pip install 'kubetuner[face]', or choose centre, random or corner")


def find(image: Image.Image) -> tuple[float, float] | None:
    """Centre of the largest face of an RGB picture, as fractions of its width and height from the top left; None where there is none."""
    grey = image.convert("L")
    grey.thumbnail((_LONGER_EDGE, _LONGER_EDGE), Image.Resampling.BILINEAR)
    edge = max(24, round(_SMALLEST * max(grey.size)))
    boxes = _cascade().detectMultiScale(np.asarray(grey), scaleFactor=1.1, minNeighbors=5, minSize=(edge, edge))
    if len(boxes) == 0:
        return None
    left, top, width, height = max((tuple(int(side) for side in box) for box in boxes), key=lambda box: (box[2] * box[3], box))
    return (left + width / 2) / grey.width, (top + height / 2) / grey.height


@functools.cache
def _installed() -> bool:
    if importlib.util.find_spec("cv2") is None:
        return False
    import cv2

    return hasattr(cv2, "CascadeClassifier")  # version 5 dropped it


def _cascade() -> Any:
    if not hasattr(_per_thread, "cascade"):
        import cv2

        cv2.setNumThreads(1)  # the pictures are shared out over threads already
        _per_thread.cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"))
    return _per_thread.cascade
