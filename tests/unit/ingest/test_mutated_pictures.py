"""Two thousand damaged pictures through the stage: each is a row that is used or says why not, and none holds the others up."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from tests.unit.ingest.bench import Bench
from tests.unit.ingest.samples import samples

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")  # Pillow's, of damaged files

COUNT = 2000
SEED = 4


def mutated(content: bytes, draw: random.Random) -> bytes:
    """A file with some bytes changed, cut short, doubled in a part, or with its end on another's."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 2, 8, 64])):
        changed[draw.randrange(min(len(changed), draw.choice([64, 512, len(changed)])))] = draw.randrange(256)
    if draw.random() < 0.2:
        del changed[draw.randrange(len(changed)) :]
    if draw.random() < 0.1:
        start = draw.randrange(len(changed) + 1)
        changed[start:start] = changed[: draw.randrange(1, 200)]
    return bytes(changed)


def test_every_damaged_picture_is_a_row_with_a_reason_or_is_used(bench: Bench) -> None:
    draw = random.Random(SEED)
    files = samples()
    names = sorted(files)
    for number in range(COUNT):
        kind = names[number % len(names)]
        ending = draw.choice([kind.partition(" ")[0].lower(), "jpg", "png"])
        content = mutated(files[kind], draw)
        (bench.pictures / f"{number:04d}.{ending}").write_bytes(content)
    for number, kind in enumerate(names):
        (bench.pictures / f"whole_{number}.png").write_bytes(files[kind])
    rows = bench.rows(captionStrategy="instanceprompt", instancePrompts=["x"])
    assert len(rows) == COUNT + len(names)
    assert [row["path"] for row in rows if row["used"] == bool(row["reason"])] == []
    assert [row["path"] for row in rows if not row["used"] and not row["detail"]] == []
    assert [row["path"] for row in rows if "\n" in row["detail"] or len(row["detail"]) > 300] == []
    assert all(row["used"] for row in rows if row["path"].startswith("whole_"))
    used = sum(row["used"] for row in rows)
    assert COUNT // 10 < used < COUNT  # the mutations leave some readable and break most others


def test_the_samples_are_of_the_kinds_they_say() -> None:
    assert {Image.open(io.BytesIO(content)).format for content in samples().values()} >= {"PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"}
