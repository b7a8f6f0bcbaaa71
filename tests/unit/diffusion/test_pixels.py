"""Pixels of every kind of file against values computed another way."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from kubetuner.diffusion import pixels
from kubetuner.diffusion.pixels import PictureError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")  # Pillow's, of damaged files

_TO_SRGB = np.linalg.inv([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]])
"""XYZ of D50 to linear sRGB (Lindbloom)."""
_P3 = np.array([[0.5151187, 0.2919778, 0.1571035], [0.2411892, 0.6922441, 0.0665668], [-0.0010505, 0.0418791, 0.7840713]])
"""Linear Display P3 to XYZ of D50."""


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(image: Image.Image, kind: str = "PNG", **options: object) -> np.ndarray:
    return np.asarray(pixels.decode(encoded(image, kind, **options)))


def noise(width: int, height: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def srgb(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, to 8 bits."""
    linear = np.clip(linear, 0, 1)
    return np.rint(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)).astype(int)


def fixed(values: np.ndarray) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in np.ravel(values))


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A display profile of ICC version 2 with these tags."""
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content
    white = fixed(np.array([0.9642, 1.0, 0.8249]))
    header = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(body), b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + white
    return header + b"\0" * (128 - len(header)) + table + body


def matrix_profile(to_xyz: np.ndarray, gamma: float) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    columns = {name: b"XYZ \0\0\0\0" + fixed(to_xyz[:, number]) for number, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    white = b"XYZ \0\0\0\0" + fixed(np.array([0.9642, 1.0, 0.8249]))
    return profile(b"RGB ", {b"wtpt": white, **columns, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(gamma: float) -> bytes:
    white = b"XYZ \0\0\0\0" + fixed(np.array([0.9642, 1.0, 0.8249]))
    return profile(b"GRAY", {b"wtpt": white, b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))})


def test_plain_rgb_is_unchanged() -> None:
    values = noise(31, 17)
    assert np.array_equal(decoded(Image.fromarray(values)), values)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_turns_the_picture_upright(orientation: int, kind: str) -> None:
    image = Image.fromarray(noise(24, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(decoded(Image.fromarray(noise(24, 16)), kind, exif=exif, **options), expected)


def test_alpha_lies_over_white() -> None:
    values = np.zeros((1, 3, 4), dtype=np.uint8)
    values[0, :, 3] = [0, 128, 255]
    assert decoded(Image.fromarray(values))[0, :, 0].tolist() == [255, 127, 0]


def test_grey_with_alpha_lies_over_white() -> None:
    values = np.array([[[0, 0], [100, 255]]], dtype=np.uint8)
    assert decoded(Image.fromarray(values, "LA"))[0, :, 0].tolist() == [255, 100]


def test_palette_with_a_transparent_colour_lies_over_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    assert decoded(image)[0].tolist() == [[10, 20, 30], [200, 100, 50]]
    assert decoded(image, transparency=0)[0].tolist() == [[255, 255, 255], [200, 100, 50]]


def test_sixteen_bits_of_grey_are_scaled() -> None:
    values = np.array([[0, 128, 129, 255, 32768, 65535]], dtype=np.uint16)
    expected = np.rint(values / 257).astype(int)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(decoded(Image.fromarray(values), kind)[..., 0], expected)


def test_sixteen_bits_of_colour_are_scaled() -> None:
    values = np.array([[[0, 65535, 32768], [258, 4660, 60000]]], dtype=">u2")
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    rows = b"\0" + values.tobytes()

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.abs(np.asarray(pixels.decode(png)).astype(int) - values / 257).max() <= 1


def test_floats_from_0_to_1_are_scaled_and_others_refused() -> None:
    assert decoded(Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)), "TIFF")[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(PictureError) as caught:
        decoded(Image.fromarray(np.array([[0, 2.5]], dtype=np.float32)), "TIFF")
    assert caught.value.reason == "unsupported"


def test_bits_become_black_and_white() -> None:
    assert decoded(Image.fromarray(np.array([[True, False]])))[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_without_profile_is_subtractive(kind: str) -> None:
    inks = np.zeros((8, 8, 4), dtype=np.uint8)
    inks[:, :] = (255, 0, 0, 0)  # cyan
    found = decoded(Image.fromarray(inks, "CMYK"), kind)
    assert np.abs(found.astype(int) - (0, 255, 255)).max() <= 3


def test_profile_is_converted_to_srgb() -> None:
    values = noise(16, 16)
    found = decoded(Image.fromarray(values), icc_profile=matrix_profile(_P3, 2.2))
    expected = srgb((values / 255) ** (round(2.2 * 256) / 256) @ _P3.T @ _TO_SRGB.T)
    assert np.abs(found.astype(int) - values.astype(int)).max() > 10
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_grey_profile_is_converted_to_srgb() -> None:
    values = np.arange(0, 256, 5, dtype=np.uint8)[None]
    found = decoded(Image.fromarray(values), icc_profile=grey_profile(1.8))
    assert np.abs(found[0, :, 0].astype(int) - srgb((values[0] / 255) ** (round(1.8 * 256) / 256))).max() <= 2


def test_srgb_profile_changes_nothing() -> None:
    values = noise(16, 16)
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decoded(Image.fromarray(values), icc_profile=own), values)


@pytest.mark.parametrize("content", [b"", b"not a profile", grey_profile(1.0), matrix_profile(_P3, 2.2)[:200]])
def test_profile_that_is_damaged_or_of_other_colours_is_passed_over(content: bytes) -> None:
    values = noise(8, 8)
    assert np.array_equal(decoded(Image.fromarray(values), icc_profile=content), values)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_moving_pictures_are_refused(kind: str) -> None:
    frames = [Image.fromarray(noise(8, 8, seed=number)) for number in range(3)]
    with pytest.raises(PictureError, match=r"3 (frames|pages)") as caught:
        decoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert caught.value.reason == "animated"


def test_preview_in_a_phone_picture_is_no_animation() -> None:
    frames = [Image.fromarray(noise(16, 16, seed=number)) for number in range(2)]
    assert decoded(frames[0], "MPO", save_all=True, append_images=frames[1:]).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", "unreadable", "empty"),
        (b"hello", "unreadable", "no picture format"),
        (encoded(Image.fromarray(noise(64, 64)), "JPEG")[:-300], "unreadable", "damaged"),
        (encoded(Image.fromarray(noise(64, 64)))[:-300], "unreadable", "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unreadable", "no picture format"),
        (b"P6 20000 20000 255\n", "too_many_pixels", "pixels"),
        (b"P6 999999 999999 255\n", "too_many_pixels", "pixels"),
    ],
)
def test_files_that_are_no_usable_picture_say_why(content: bytes, reason: str, words: str) -> None:
    with pytest.raises(PictureError, match=words) as caught:
        pixels.decode(content)
    assert caught.value.reason == reason


def progressive(width: int, height: int, scans: int, between: bytes = b"") -> bytes:
    """A JPEG whose last scan comes again and again."""
    content = encoded(Image.new("L", (width, height), 128), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + (between + last) * scans + b"\xff\xd9"


@pytest.mark.parametrize("between", [b"", b"\xff\xff\xff", b"rubbish", b"\xff\xd0"], ids=["plain", "padded", "rubbish", "restart"])
def test_a_small_file_that_would_take_hours_is_refused(between: bytes) -> None:
    with pytest.raises(PictureError, match=r"\d+ scans over 4000x4000 pixels") as caught:
        pixels.decode(progressive(4000, 4000, 400, between))
    assert caught.value.reason == "too_many_pixels"


def test_a_progressive_picture_and_what_only_looks_like_scans_are_read() -> None:
    assert pixels.decode(progressive(300, 200, 3)).size == (300, 200)
    assert pixels.decode(encoded(Image.fromarray(noise(1200, 800)), "JPEG", progressive=True, comment=b"\xff\xda" * 5000)).size == (
        1200,
        800,
    )


def test_wrong_ending_is_read_by_content_and_one_pixel_is_a_picture() -> None:
    assert decoded(Image.new("RGB", (1, 1), (1, 2, 3)), "BMP").tolist() == [[[1, 2, 3]]]


def test_digest_is_of_size_and_pixels_not_of_the_file() -> None:
    image = Image.fromarray(noise(6, 4))
    same = [pixels.digest(pixels.decode(encoded(image, kind))) for kind in ("PNG", "BMP", "TIFF")]
    assert len({*same, pixels.digest(image)}) == 1
    assert pixels.digest(Image.new("RGB", (2, 3))) != pixels.digest(Image.new("RGB", (3, 2)))


def test_digest_of_strips_is_that_of_the_whole() -> None:
    image = Image.fromarray(noise(3, 2500))
    assert pixels.digest(image) == hashlib.sha256(b"rgb8 3 2500\n" + image.tobytes()).hexdigest()


def test_fit_resizes_then_crops() -> None:
    image = Image.fromarray(noise(100, 50))
    found = pixels.fit(image, resized=(128, 64), crop=(0, 40), target=(64, 64))
    whole = np.asarray(image.resize((128, 64), Image.Resampling.LANCZOS))
    assert found.dtype == np.uint8
    assert np.array_equal(found, whole[0:64, 40:104])


def _samples() -> dict[str, bytes]:
    image = Image.fromarray(noise(23, 31))
    kinds = ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "TGA", "ICO", "JPEG2000", "AVIF", "PCX", "SGI", "QOI", "DDS", "MPO"]
    samples = {kind: encoded(image, kind) for kind in kinds}
    samples["palette"] = encoded(image.convert("P"), "PNG", transparency=3)
    samples["profile"] = encoded(image, "JPEG", icc_profile=matrix_profile(_P3, 2.2), exif=Image.Exif())
    return samples


@pytest.mark.parametrize(("kind", "content"), _samples().items())
def test_damage_anywhere_gives_a_picture_or_a_reason(kind: str, content: bytes) -> None:
    draw = random.Random(kind)
    for _ in range(100):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 2, 8])):
            damaged[draw.randrange(min(len(damaged), draw.choice([64, 512, len(damaged)])))] = draw.randrange(256)
        if draw.random() < 0.2:
            damaged = damaged[: draw.randrange(len(damaged))]
        assert _outcome(bytes(damaged))


def _outcome(content: bytes) -> str:
    """What became of it; anything else than a picture or a PictureError fails the test."""
    try:
        return pixels.decode(content).mode
    except PictureError as error:
        return error.detail and error.reason
