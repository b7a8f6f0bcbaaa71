"""Small whole files of many formats, as a start for damage; the first word of each name is the ending of its files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

_KINDS = {
    "png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "bmp": "BMP", "ppm": "PPM", "tga": "TGA", "ico": "ICO",
    "jp2": "JPEG2000", "avif": "AVIF", "pcx": "PCX", "sgi": "SGI", "qoi": "QOI", "dds": "DDS",
}  # fmt: skip


def samples() -> dict[str, bytes]:
    """Files by name."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 23, 3), dtype=np.uint8))
    files = {ending: _file(image, kind) for ending, kind in _KINDS.items()}
    exif = Image.Exif()
    exif[0x0112] = 6
    files["png palette"] = _file(image.convert("P"), "PNG", transparency=3)
    files["png deep"] = _file(Image.fromarray(np.arange(23 * 31, dtype=np.uint16).reshape(31, 23) * 90), "PNG")
    files["jpg progressive"] = _file(image, "JPEG", progressive=True, exif=exif)
    files["jpg ink"] = _file(image.convert("CMYK"), "JPEG")
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"tif {packing}"] = _file(image, "TIFF", compression=packing)
    files["webp whole"] = _file(image.convert("RGBA"), "WEBP", lossless=True)
    return files


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()
