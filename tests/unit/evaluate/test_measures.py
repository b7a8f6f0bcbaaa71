"""Measures of drawn pictures against values that are known: CIE's colours, and shapes whose likeness is plain."""

from __future__ import annotations

import numpy as np
import pytest

from kubetuner.evaluate.core import measures


def flat(*colour: int) -> np.ndarray:
    return np.full((8, 8, 3), colour, np.uint8)


def stripes(*, across: bool, dark: int = 0, phase: int = 0) -> np.ndarray:
    """Dark lines on white, 4 of every 16 pixels."""
    lines = np.where((np.arange(64) + phase) % 16 < 4, dark, 255).astype(np.uint8)
    grey = np.tile(lines, (64, 1)) if not across else np.tile(lines[:, None], (1, 64))
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), 0.0), ((255, 255, 255), 0.0), ((119, 119, 119), 0.0),
        ((255, 0, 0), 104.55), ((0, 255, 0), 119.78), ((0, 0, 255), 133.81), ((255, 255, 0), 96.91),
    ],
)  # fmt: skip
def test_chroma_is_that_of_cielab(colour: tuple[int, int, int], expected: float) -> None:
    assert measures.chroma(flat(*colour)) == pytest.approx(np.full((8, 8), expected), abs=0.02)


@pytest.mark.parametrize(
    ("picture", "share"),
    [
        (flat(255, 255, 255), 1.0),
        (flat(255, 0, 0), 0.0),
        (np.concatenate([flat(0, 0, 0), flat(40, 120, 60)]), 0.5),
        (flat(200, 190, 195), 1.0),
    ],
)
def test_colourless_pixels_are_counted(picture: np.ndarray, share: float) -> None:
    assert measures.colourless(picture) == share


def test_a_picture_is_like_itself_in_another_tint_and_unlike_one_whose_edges_run_otherwise() -> None:
    true = [stripes(across=True), stripes(across=False)]
    tinted = true[0].copy()
    tinted[..., 2] = np.maximum(tinted[..., 2], 40)
    found = measures.likeness([true[0], tinted, stripes(across=False, phase=2)], true)
    assert found[0] == pytest.approx([1, -1])
    assert found[1, 0] > 0.95
    assert found[2, 1] > 0.85


def test_flat_pictures_are_like_nothing_by_more_than_chance() -> None:
    true = [stripes(across=True), stripes(across=False)]
    found = measures.likeness([flat(255, 255, 255)], true)
    assert abs(found[0, 0] - found[0, 1]) < 0.1
    assert np.isfinite(measures.likeness([flat(0, 0, 0)], [flat(0, 0, 0)])).all()


def test_a_coloured_area_is_no_drawn_one() -> None:
    black = stripes(across=True)
    red = black.copy()
    red[..., 0] = 255
    assert measures.edges(red).sum() == 0
    assert measures.edges(black).sum() > 100


def test_size_does_not_matter() -> None:
    big = np.kron(stripes(across=True), np.ones((3, 2, 1), np.uint8))
    assert measures.likeness([big], [stripes(across=True), stripes(across=False)])[0, 0] > 0.95


@pytest.mark.parametrize(
    ("rows", "own", "first", "rank"),
    [
        ([[0.9, 0.1], [0.2, 0.8]], [0, 1], 1.0, 1.0),
        ([[0.9, 0.1], [0.8, 0.2]], [0, 1], 0.5, 1.5),
        ([[0.1, 0.9, 0.5]], [0], 0.0, 3.0),
        ([[0.5, 0.5, 0.5]], [1], 0.0, 2.0),  # nothing to tell them by is chance, not success
        ([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7]], [0, 0, 1], 1.0, 1.0),  # two images of one picture
    ],
)
def test_ranks_of_the_own_picture(rows: list[list[float]], own: list[int], first: float, rank: float) -> None:
    assert measures.retrieval(np.array(rows), own) == measures.Retrieval(first=first, mean_rank=rank)
