"""Targets, resized sizes and crops against SimpleTuner's published rules, and properties that must hold for any picture."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetuner.diffusion import buckets
from kubetuner.diffusion.buckets import Face, Placement, Refusal, Size, Sizing

PIXELS = "ab" * 32


def placed(source: tuple[int, int], **sizing: object) -> Placement:
    found = buckets.place(source, Sizing(**{"resolution": 1.0, "resolution_type": "area", **sizing}), seed=1, pixels=PIXELS)
    assert isinstance(found, Placement), found
    return found


def refused(source: tuple[int, int], **sizing: object) -> Refusal:
    found = buckets.place(source, Sizing(**{"resolution": 1.0, "resolution_type": "area", **sizing}), seed=1, pixels=PIXELS)
    assert isinstance(found, Refusal), found
    return found


GOLDEN = [
    ((1024, 1024), (1024, 1024), (1024, 1024), "1.0", (0, 0)),
    ((1920, 1080), (1344, 768), (1365, 768), "1.75", (0, 10)),
    ((1080, 1920), (768, 1344), (768, 1365), "0.57", (10, 0)),
    ((1500, 1000), (1280, 832), (1280, 853), "1.54", (10, 0)),
    ((1000, 1500), (832, 1280), (853, 1280), "0.65", (0, 10)),
    ((1600, 1200), (1152, 896), (1194, 896), "1.29", (0, 21)),
    ((1200, 1600), (896, 1152), (896, 1194), "0.78", (21, 0)),
    ((2560, 1080), (1600, 640), (1600, 675), "2.5", (17, 0)),
    ((3000, 1000), (1792, 576), (1792, 597), "3.11", (10, 0)),
]


@pytest.mark.parametrize(("resolution", "kind"), [(1.0, "area"), (1024, "pixel_area")])
@pytest.mark.parametrize(("source", "target", "resized", "bucket", "crop"), GOLDEN)
def test_golden_vectors(source: Size, target: Size, resized: Size, bucket: str, crop: Size, resolution: float, kind: str) -> None:
    found = placed(source, resolution=resolution, resolution_type=kind, style="centre")
    assert (found.target, found.resized, found.bucket, found.crop) == (target, resized, bucket, crop)


REACHABLE = [
    (0.95, 1.06, 1024, 1024), (1.07, 1.19, 1088, 960), (1.20, 1.21, 1152, 960), (1.22, 1.33, 1152, 896), (1.34, 1.40, 1216, 896),
    (1.41, 1.48, 1216, 832), (1.49, 1.63, 1280, 832), (1.64, 1.64, 1280, 768), (1.65, 1.80, 1344, 768), (1.81, 1.93, 1408, 768),
    (1.94, 1.97, 1408, 704), (1.98, 2.15, 1472, 704), (2.16, 2.32, 1536, 704), (2.33, 2.34, 1536, 640), (2.35, 2.54, 1600, 640),
    (2.55, 2.74, 1664, 640), (2.75, 2.83, 1728, 640), (2.84, 2.95, 1728, 576), (2.96, 3.17, 1792, 576), (3.18, 3.39, 1856, 576),
    (3.40, 3.54, 1920, 576), (3.55, 3.63, 1920, 512), (3.64, 3.87, 1984, 512), (3.88, 4.00, 2048, 512),
    (0.94, 0.94, 1024, 1088), (0.84, 0.93, 960, 1088), (0.83, 0.83, 960, 1152), (0.75, 0.82, 896, 1152), (0.72, 0.74, 896, 1216),
    (0.68, 0.71, 832, 1216), (0.62, 0.67, 832, 1280), (0.61, 0.61, 768, 1280), (0.56, 0.60, 768, 1344), (0.52, 0.55, 768, 1408),
    (0.51, 0.51, 704, 1408), (0.47, 0.50, 704, 1472), (0.44, 0.46, 704, 1536), (0.43, 0.43, 640, 1536), (0.40, 0.42, 640, 1600),
]  # fmt: skip


@pytest.mark.parametrize(("low", "high", "width", "height"), REACHABLE)
def test_every_bucket_of_one_megapixel_is_reached(low: float, high: float, width: int, height: int) -> None:
    aspects = [hundredths / 100 for hundredths in range(round(low * 100), round(high * 100) + 1)]
    assert {buckets.target_size(aspect, 1.0, "area") for aspect in aspects} == {(width, height)}


def test_no_other_bucket_of_one_megapixel_is_reached() -> None:
    known = {(width, height) for _, _, width, height in REACHABLE}
    found = {buckets.target_size(hundredths / 100, 1.0, "area") for hundredths in range(25, 401)}
    assert found <= known | {(height, width) for width, height in known}


@pytest.mark.parametrize(
    ("resolution", "kind", "edge"),
    [(0.25, "area", 512), (0.5, "area", 768), (1.0, "area", 1024), (2.0, "area", 1536), (4.0, "area", 2048), (0.35, "area", 576),
     (0.54, "area", 768), (768, "pixel_area", 768), (512, "pixel", 512), (500, "pixel", 512), (640, "pixel_area", 640)],
)  # fmt: skip
def test_square_crop_has_edges_of_its_own(resolution: float, kind: str, edge: int) -> None:
    found = placed((3000, 2000), resolution=resolution, resolution_type=kind, crop=True, aspect="square", style="centre")
    assert found.target == (edge, edge)
    assert found.bucket == "1.0"
    assert found.resized == (int(edge * 1.5), edge)


def test_half_megapixel_square_and_other_buckets_disagree_as_in_simpletuner() -> None:
    assert buckets.square_size(0.5, "area") == (768, 768)
    assert buckets.target_size(1.0, 0.5, "area") == (704, 704)


@pytest.mark.parametrize(
    ("source", "resolution", "target", "resized"),
    [((2000, 1000), 512, (1024, 512), (1024, 512)), ((1000, 2000), 512, (512, 1024), (512, 1024)),
     ((1500, 1000), 500, (768, 512), (768, 512)),
     ((1000, 1000), 500, (512, 512), (512, 512)), ((1777, 1000), 720, (1280, 704), (1280, 720))],
)  # fmt: skip
def test_pixel_resolution_is_the_shorter_edge(source: Size, resolution: float, target: Size, resized: Size) -> None:
    found = placed(source, resolution=resolution, resolution_type="pixel", style="centre")
    assert (found.target, found.resized) == (target, resized)


@pytest.mark.parametrize(("value", "aligned"), [(0, 64), (31, 64), (96, 128), (160, 128), (161, 192), (224, 256), (1000, 1024)])
def test_halves_align_to_the_even_multiple(value: int, aligned: int) -> None:
    assert buckets.align(value) == aligned


def test_preserve_has_the_sizes_of_no_crop() -> None:
    whole = placed((1500, 1000), style="centre")
    assert placed((1500, 1000), crop=True, aspect="preserve", style="centre") == whole


@pytest.mark.parametrize(("source", "aspect"), [((1000, 1000), 1.0), ((1400, 1000), 1.5), ((1200, 1000), 1.0), ((1000, 3000), 0.5)])
def test_closest_takes_the_nearest_aspect(source: tuple[int, int], aspect: float) -> None:
    found = placed(source, crop=True, aspect="closest", choices=((0.5, 1.0), (1.0, 1.0), (1.5, 1.0)))
    assert found.target == buckets.target_size(aspect, 1.0, "area")


def test_random_aspect_follows_its_weights() -> None:
    rule = Sizing(resolution=1.0, resolution_type="area", crop=True, aspect="random", choices=((0.5, 1.0), (1.0, 3.0), (2.0, 0.001)))
    drawn = [buckets.place((4000, 4000), rule, seed=1, pixels=f"{number}") for number in range(2000)]
    squares = sum(found.target == (1024, 1024) for found in drawn if isinstance(found, Placement))
    assert 1400 < squares < 1600


@pytest.mark.parametrize(
    ("threshold", "target", "noted"),
    [
        (None, (1280, 640), False),  # the nearest, 2.0
        (0.3, (1280, 640), False),
        (0.2, (896, 896), True),  # 1280 > 1000 * 1.2, and of 0.9 960 > 500 * 1.2
    ],
)
def test_aspects_that_enlarge_too_much_are_left_out(threshold: float | None, target: tuple[int, int], noted: bool) -> None:
    choices = ((2.0, 1.0), (0.9, 1.0))
    found = placed((1000, 500), crop=True, aspect="closest", max_upscale=threshold, choices=choices, resolution=0.75)
    assert found.target == target
    assert bool(found.note) == noted


def test_nearest_aspect_is_taken_from_those_that_are_left() -> None:
    rule = {"crop": True, "aspect": "closest", "resolution": 0.25, "choices": ((2.0, 1.0), (1.0, 1.0))}
    assert placed((1000, 530), **rule).target == (704, 384)
    assert placed((690, 530), **rule, max_upscale=0).target == (512, 512)


@pytest.mark.parametrize(
    ("source", "sizing", "used"),
    [((512, 512), {"minimum": 0.25}, True), ((499, 499), {"minimum": 0.25}, False), ((1000, 250), {"minimum": 0.25}, True),
     ((1000, 250), {"minimum": 0.25, "crop": True}, False), ((1000, 250), {"minimum": 0.25, "crop": True, "aspect": "preserve"}, True),
     ((500, 500), {"minimum": 0.25, "crop": True}, True),
     ((511, 2000), {"minimum": 512, "resolution_type": "pixel", "resolution": 512}, False),
     ((512, 512), {"minimum": 512, "resolution_type": "pixel_area", "resolution": 512}, True),
     ((511, 512), {"minimum": 512, "resolution_type": "pixel_area", "resolution": 512}, False), ((1, 1), {"minimum": 0}, True)],
)  # fmt: skip
def test_minimum_size(source: tuple[int, int], sizing: dict[str, object], used: bool) -> None:
    if used:
        placed(source, **sizing)
    else:
        assert refused(source, **sizing).reason == "too_small"


@pytest.mark.parametrize(("source", "used"), [((1000, 1000), True), ((1500, 1000), True), ((2000, 1000), False), ((600, 1000), False)])
def test_aspect_range_is_of_the_bucket(source: tuple[int, int], used: bool) -> None:
    bounds = {"minimum_aspect": 0.75, "maximum_aspect": 1.54}  # 1500x1000 has the bucket 1.54
    if used:
        placed(source, **bounds)
    else:
        assert refused(source, **bounds).reason == "aspect_out_of_range"


@pytest.mark.parametrize("source", [(1, 1000), (1, 2_000_000), (2_000_000, 1)])
def test_a_line_is_no_picture(source: tuple[int, int]) -> None:
    assert refused(source).reason == "aspect_out_of_range"
    assert refused(source, crop=True, resolution_type="pixel", resolution=8192).reason == "aspect_out_of_range"


def test_picture_above_the_maximum_is_cropped_from_the_downsample_size() -> None:
    rule = {"crop": True, "aspect": "square", "resolution": 0.25, "maximum": 1.0, "downsample": 1.0, "style": "centre"}
    assert placed((4000, 3000), **rule).resized == (1194, 896)  # own aspect at one megapixel
    assert placed((1000, 750), **rule).resized == (682, 512)  # not above: the plain size
    assert placed((4000, 3000), **{**rule, "crop": False}).resized == placed((4000, 3000), resolution=0.25, style="centre").resized


def test_downsample_size_never_enlarges_and_always_covers() -> None:
    rule = {"crop": True, "aspect": "square", "maximum": 0.5, "style": "centre"}
    assert placed((1300, 1100), **rule, downsample=4.0).resized == (1300, 1100)
    assert placed((3000, 2000), **rule, downsample=0.5).resized == (1536, 1024)


@pytest.mark.parametrize("style", ["centre", "center", "corner", "random", "face"])
def test_crop_styles(style: str) -> None:
    top, left = buckets.crop_position((1500, 1024), (1024, 1024), style, seed=1, pixels=PIXELS)
    assert top == 0
    assert {"centre": left == 238, "center": left == 238, "corner": left == 0}.get(style, 0 <= left <= 476)


@pytest.mark.parametrize(("across", "left"), [(0.5, 238), (0.0, 0), (1.0, 476), (0.4, 88)])
def test_face_crop_holds_the_face_in_its_middle(across: float, left: int) -> None:
    face = Face(across=across, down=0.5)
    assert buckets.crop_position((1500, 1024), (1024, 1024), "face", seed=1, pixels=PIXELS, face=face) == (0, left)


def test_random_crops_are_spread_over_all_places() -> None:
    drawn = [buckets.crop_position((74, 84), (64, 64), "random", seed=1, pixels=str(number)) for number in range(3000)]
    assert {top for top, _ in drawn} == set(range(21))
    assert {left for _, left in drawn} == set(range(11))


def test_random_crop_hangs_on_seed_and_content_alone() -> None:
    first = buckets.crop_position((5000, 5000), (64, 64), "random", seed=1, pixels="a")
    assert first == buckets.crop_position((5000, 5000), (64, 64), "random", seed=1, pixels="a")
    assert first != buckets.crop_position((5000, 5000), (64, 64), "random", seed=2, pixels="a")
    assert first != buckets.crop_position((5000, 5000), (64, 64), "random", seed=1, pixels="b")


@st.composite
def sizings(draw: st.DrawFn) -> Sizing:
    kind = draw(st.sampled_from(["area", "pixel", "pixel_area"]))
    resolution = draw(st.floats(0.01, 1.1) if kind == "area" else st.integers(64, 1024))
    return Sizing(
        resolution=resolution,
        resolution_type=kind,
        crop=draw(st.booleans()),
        aspect=draw(st.sampled_from(["square", "preserve", "closest", "random"])),
        style=draw(st.sampled_from(["random", "centre", "corner", "face"])),
        choices=tuple((aspect, 1.0) for aspect in draw(st.lists(st.floats(0.2, 5), min_size=1, max_size=4))),
        max_upscale=draw(st.none() | st.floats(0, 1)),
        maximum=draw(st.just(resolution)),
        downsample=draw(st.just(resolution * 1.5)),
    )


@given(st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)), sizings(), st.integers(0, 2**31 - 1))
def test_resized_covers_target_and_crop_lies_inside(source: tuple[int, int], rule: Sizing, seed: int) -> None:
    found = buckets.place(source, rule, seed=seed, pixels=PIXELS)
    if isinstance(found, Refusal):
        assert max(source) / min(source) > 20
        return
    top, left = found.crop
    assert found.target[0] % 64 == found.target[1] % 64 == 0
    assert 0 <= left <= found.resized[0] - found.target[0]
    assert 0 <= top <= found.resized[1] - found.target[1]
    assert found == buckets.place(source, rule, seed=seed, pixels=PIXELS)


@given(st.integers(64, 4000), st.integers(64, 4000), st.sampled_from(["area", "pixel", "pixel_area"]))
def test_resize_keeps_the_aspect_of_the_source(width: int, height: int, kind: str) -> None:
    found = buckets.place((width, height), Sizing(resolution=1.0 if kind == "area" else 1024, resolution_type=kind), seed=0, pixels=PIXELS)
    if isinstance(found, Placement):
        exact = found.resized[1] * width / height
        assert math.isclose(found.resized[0], exact, abs_tol=2 + 2 * width / height)
