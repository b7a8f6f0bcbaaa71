"""Files of pictures become pixels in one form: RGB of 8 bits in sRGB, upright, on white.

The manifest's rows and the latents are made from what `decode` gives, so that sizes, crops and pixels always agree. Decoding is
bounded in bytes, in pixels and in the scans of a JPEG, which bounds its time too; every fault of a file is a PictureError that says
what is wrong with it.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from kubetuner.diffusion import colour
from kubetuner.diffusion.buckets import MAX_PIXELS, Size
from kubetuner.errors import DataError

MAX_BYTES: Final = 1 << 29
"""Longest file that is read, 512 MiB."""
_MAX_SCANNED: Final = 4_000_000_000
"""Most pixels that the scans of a JPEG pass over together: about five seconds. A scan over the whole picture can be of a hundred bytes."""
_NOT_READ: Final = frozenset(
    ("EPS", "PDF", "WMF", "MPEG", "HDF5", "GRIB", "BUFR", "IPTC")
)  # EPS and PDF would start another program; the others need plug-ins or hold no picture
_FREQUENT: Final = frozenset(("JPEG", "PNG", "WEBP"))
_STILL: Final = frozenset(("MPO", "PSD", "ICO", "ICNS", "JPEG"))  # further frames are previews, layers or sizes of one picture
_ROWS_HASHED: Final = 1024
_SCAN: Final = b"\xff\xda"
_END_OF_IMAGE: Final = 0xD9
_WITHOUT_LENGTH: Final = frozenset((0x00, 0x01, *range(0xD0, 0xD9), 0xFF))  # data that looks like a marker, restarts, padding
_DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)  # all of them seen from Pillow's readers on damaged files
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow warns of and logs is either harmless here or becomes a PictureError; on the terminal it would break the progress bars.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
logging.getLogger("PIL").addHandler(logging.NullHandler())


class PictureError(DataError):
    """A file is no usable picture. `reason` is the manifest's code, `detail` the sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@functools.cache
def formats() -> tuple[str, ...]:
    """Names of Pillow's formats that are read, in the order in which they are tried."""
    Image.init()
    known = sorted(name for name in Image.OPEN if name not in _NOT_READ)
    return tuple(sorted(known, key=lambda name: name not in _FREQUENT))


@functools.cache
def extensions() -> frozenset[str]:
    """Endings of file names that are taken for pictures, in lower case with the dot."""
    known = frozenset(formats())
    return frozenset(ending.lower() for ending, name in Image.registered_extensions().items() if name in known)


def too_many_bytes(size: int) -> PictureError:
    """What is wrong with a file of more than MAX_BYTES, for whoever sees its size before reading it."""
    return PictureError("too_many_bytes", f"the file is {size} bytes long, at most {MAX_BYTES} are read; save it smaller")


def decode(data: bytes) -> Image.Image:
    """The picture in a file: RGB of 8 bits, sRGB, turned upright, transparency on white. Raises PictureError."""
    if not data:
        raise PictureError("unreadable", "the file is empty")
    if len(data) > MAX_BYTES:
        raise too_many_bytes(len(data))
    try:
        with Image.open(io.BytesIO(data), formats=formats()) as image:
            _check(image)
            _check_scans(image, data)
            image.load()
            return _upright(colour.to_srgb(image), image)
    except UnidentifiedImageError:
        raise PictureError("unreadable", "the content is of no picture format that is read") from None
    except Image.DecompressionBombError:
        raise PictureError("too_many_pixels", f"more than {MAX_PIXELS} pixels; save it smaller") from None
    except colour.UnsupportedColour as error:
        raise PictureError("unsupported", str(error)) from None
    except _DAMAGE as error:
        raise PictureError("unreadable", f"the picture is damaged ({_words(error)}); replace it or take it out") from error


def fit(image: Image.Image, *, resized: Size, crop: Sequence[int], target: Size) -> np.ndarray:
    """A decoded picture resized (Lanczos) to (width, height), then cropped at (top, left) to (width, height): uint8 of (H, W, 3)."""
    top, left = crop
    if image.size != tuple(resized):
        image = image.resize((resized[0], resized[1]), Image.Resampling.LANCZOS)
    return np.array(image.crop((left, top, left + target[0], top + target[1])))


def digest(image: Image.Image) -> str:
    """SHA-256 of a decoded picture's size and pixels: the name of its content, whatever file and format it came in."""
    assert image.mode == "RGB", image.mode
    sha = hashlib.sha256(b"rgb8 %d %d\n" % image.size)
    for top in range(0, image.height, _ROWS_HASHED):  # in strips: a copy of the whole would double the memory of a large picture
        strip = image if image.height <= _ROWS_HASHED else image.crop((0, top, image.width, min(top + _ROWS_HASHED, image.height)))
        sha.update(strip.tobytes())
    return sha.hexdigest()


def _check(image: Image.Image) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise PictureError("unreadable", f"a picture of {width}x{height} pixels shows nothing")
    if width * height > MAX_PIXELS:
        raise PictureError("too_many_pixels", f"{width}x{height} are more than {MAX_PIXELS} pixels; save it smaller")
    frames = 1 if image.format in _STILL else getattr(image, "n_frames", 1)  # an attribute of some formats' classes only
    if frames > 1:
        what = "pages" if image.format in ("TIFF", "DCX") else "frames"
        raise PictureError("animated", f"{image.format} of {frames} {what}; save the one to train on as a picture of its own")


def _check_scans(image: Image.Image, data: bytes) -> None:
    """A progressive JPEG comes in about ten scans; thousands of them take hours, however small the file."""
    if image.format not in ("JPEG", "MPO"):
        return
    most = _MAX_SCANNED // (image.width * image.height)
    if data.count(_SCAN) > most and (scans := _scans(data)) > most:  # the count sees also what only looks like a scan, in a preview
        raise PictureError(
            "too_many_pixels", f"{scans} scans over {image.width}x{image.height} pixels; save it as a JPEG that is not progressive"
        )


def _scans(data: bytes) -> int:
    """Scans of a JPEG up to its end, from marker to marker (ITU T.81, annex B); what stands between is passed over, as decoders do."""
    at, scans = 2, 0
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == _END_OF_IMAGE:
            break
        if marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        scans += marker == _SCAN[1]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return scans


def _upright(pixels: Image.Image, source: Image.Image) -> Image.Image:
    """Apply the EXIF orientation of `source`; Pillow's TIFF reader has done so already and taken the tag away."""
    try:
        turn = _TURNS.get(source.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:  # the pixels are whole: a viewer shows such a picture as it is stored
        turn = None
    return pixels if turn is None else pixels.transpose(turn)


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__
