"""Colours of any picture become sRGB of 8 bits on white.

Colour profiles are honoured where they fit the picture's colours; a damaged or foreign one (an RGB profile in a grey picture) is passed
over, as viewers do, and the values are taken as sRGB. Deep colours are scaled, not cut off; where the range of values is not defined
(integers of 32 bits, floats outside 0 to 1) the picture is refused rather than guessed at.
"""

from __future__ import annotations

import functools
import io
from typing import Final

import numpy as np
from PIL import Image, ImageCms

_SPACES: Final = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
"""ICC's name of the colour space of Pillow's modes."""


class UnsupportedColour(Exception):
    """Values whose meaning is not defined; says which."""


def to_srgb(image: Image.Image) -> Image.Image:
    """A loaded picture of any mode as RGB; its alpha is laid over white."""
    colour, alpha = _split(image)
    rgb = _managed(colour, image.info.get("icc_profile"))
    if alpha is None or alpha.getextrema() == (255, 255):
        return rgb
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=alpha)
    return white


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colour in mode L, RGB, CMYK or LAB, and alpha in mode L or None where all is opaque."""
    if image.mode.startswith("I;16"):
        return _from_sixteen_bits(np.asarray(image).astype(np.uint32), image.info.get("transparency"))
    if image.mode == "I":
        return _from_integers(np.asarray(image)), None
    if image.mode == "F":
        return _from_floats(np.asarray(image)), None
    if image.mode in ("LA", "La"):
        grey, alpha = image.convert("LA").split()
        return grey, alpha
    if image.has_transparency_data:
        red, green, blue, alpha = image.convert("RGBA").split()
        return Image.merge("RGB", (red, green, blue)), alpha
    if image.mode in _SPACES:
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _from_sixteen_bits(values: np.ndarray, transparent: object) -> tuple[Image.Image, Image.Image | None]:
    grey = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if not isinstance(transparent, int):
        return grey, None
    return grey, Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))


def _from_integers(values: np.ndarray) -> Image.Image:
    """Pillow opens grey of 16 bits in some formats as integers of 32."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnsupportedColour(f"32-bit integers from {low} to {high} have no defined white; save it with 8 or 16 bits")
    return _from_sixteen_bits(values.astype(np.uint32), None)[0]


def _from_floats(values: np.ndarray) -> Image.Image:
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise UnsupportedColour("floating-point values outside 0 to 1 have no defined white; save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _managed(colour: Image.Image, profile: object) -> Image.Image:
    """RGB of a picture in mode L, RGB, CMYK or LAB."""
    transform: ImageCms.ImageCmsTransform | None = None
    if colour.mode == "LAB":
        transform = _lab_transform()
    elif isinstance(profile, bytes) and profile:
        transform = _transform(profile, colour.mode)
    if transform is not None:
        return transform.apply(colour)
    return colour if colour.mode == "RGB" else colour.convert("RGB")


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile to sRGB, or None where it is sRGB itself, is damaged, or is not one of this mode's colours."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = _build(source, mode)
    except (OSError, ImageCms.PyCMSError, ValueError, TypeError):
        return None
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _build(source: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.ImageCmsTransform(
        source,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE,  # no cache: threads share the transform
    )


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether no colour moves by more than one level of 256: most profiles are sRGB, and applying them takes longer than decoding."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    before = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    after = np.asarray(transform.apply(Image.fromarray(before)))
    return int(np.abs(after.astype(int) - before.astype(int)).max()) <= 1


@functools.cache
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return _build(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")
