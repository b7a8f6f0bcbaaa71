"""Whatever lies in a folder becomes a row or is counted; nothing ends the stage."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kubetuner.artifacts.manifest import decode_path
from kubetuner.diffusion import pixels
from kubetuner.ingest.core import look, sources
from kubetuner.ingest.core.seen import Seen, scratch
from tests import builders
from tests.unit.ingest.bench import Bench


@pytest.mark.parametrize(
    "name",
    [b"two\nlines.png", b"a" * 250 + b".png", "日本 😀.png".encode(), b"100%25.png", b"-rf.png", b"'\"; $(x).png", b" .png", b".png.png"],
)
def test_any_name_that_is_utf8_is_used(bench: Bench, name: bytes) -> None:
    path = os.fsencode(bench.pictures) + b"/" + name
    builders.picture((64, 64)).save(os.fsdecode(path), "PNG")
    (row,) = bench.rows(captionStrategy="instanceprompt", instancePrompts=["x"])
    assert row["used"]
    assert os.fsencode(decode_path(row["path"])) == name


def test_name_that_is_not_utf8_is_named_reversibly(bench: Bench) -> None:
    path = os.fsdecode(os.fsencode(bench.pictures) + b"/caf\xe9.png")
    builders.picture((64, 64)).save(path, "PNG")
    builders.photographs(bench.pictures, [(64, 64)])
    row = next(row for row in bench.rows() if row["path"] == "caf%E9.png")
    assert row["reason"] == "caption_unreadable"
    assert decode_path(row["path"]) == "caf\udce9.png"


def test_broken_files_are_rows_with_reasons(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64), (1, 1)])
    (bench.pictures / "empty.jpg").write_bytes(b"")
    (bench.pictures / "text.jpg").write_bytes(b"hello")
    (bench.pictures / "bomb.ppm").write_bytes(b"P6 99999 99999 255\n")
    frames = [builders.picture((16, 16), seed=number) for number in range(2)]
    frames[0].save(bench.pictures / "moving.gif", save_all=True, append_images=frames[1:])
    whole = (bench.pictures / "a_red_picture_000.png").read_bytes()
    (bench.pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    (bench.pictures / "wrong_ending.jpg").write_bytes(whole)
    reasons = {row["path"]: row["reason"] for row in bench.rows()}
    assert reasons == {
        "a_green_picture_001.png": "",
        "a_red_picture_000.png": "",
        "bomb.ppm": "too_many_pixels",
        "cut.png": "unreadable",
        "empty.jpg": "unreadable",
        "moving.gif": "animated",
        "text.jpg": "unreadable",
        "wrong_ending.jpg": "",
    }


def test_file_that_is_too_long_is_not_even_read(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)])
    with open(bench.pictures / "long.png", "wb") as file:
        file.truncate(pixels.MAX_BYTES + 1)  # takes no room on the disk
    row = next(row for row in bench.rows() if row["path"] == "long.png")
    assert (row["reason"], row["bytes"], row["sha256"]) == ("too_many_bytes", pixels.MAX_BYTES + 1, "")


def test_what_is_no_file_is_a_row_and_holds_nobody_up(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)])
    os.mkfifo(bench.pictures / "pipe.jpg")
    (bench.pictures / "endless.png").symlink_to("/dev/zero")
    (bench.pictures / "dangling.png").symlink_to("nowhere")
    (bench.pictures / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bench.pictures / "socket.jpg"))
    reasons = {row["path"]: row["reason"] for row in bench.rows() if not row["used"]}
    assert reasons == dict.fromkeys(("pipe.jpg", "endless.png", "dangling.png", "socket.jpg"), "unreadable")


def test_twins_by_case_dots_and_dashes_are_pictures_of_their_own(bench: Bench) -> None:
    names = ["A.png", "a.png", "A.PNG", "-rf.png", ".hidden.png", "..png", "a.b.PnG"]
    for number, name in enumerate(names):
        builders.picture((64, 64), seed=number).save(str(bench.pictures / name), "PNG")
    rows = bench.rows(captionStrategy="instanceprompt", instancePrompts=["x"])
    assert [row["path"] for row in rows if row["used"]] == sorted(names)


def test_caption_file_that_is_too_long_is_not_even_read(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 3)
    first, second, third = sorted(bench.pictures.iterdir())
    with open(first.with_suffix(".txt"), "wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    os.mkfifo(second.with_suffix(".txt"))
    third.with_suffix(".txt").write_bytes(b"\xef\xbb\xbfa cat\r\na dog\r\n")
    rows = bench.rows(captionStrategy="textfile")
    assert [row["reason"] for row in rows] == ["caption_unreadable", "caption_missing", ""]
    assert f"{1 << 40} bytes long" in rows[0]["detail"]
    assert rows[2]["captions"] == ["a cat", "a dog"]


def test_loop_of_links_is_walked_once(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)])
    (bench.pictures / "loop").symlink_to(bench.pictures)
    assert len(bench.rows()) == 1


def test_file_that_vanishes_is_a_row(bench: Bench) -> None:
    paths = builders.photographs(bench.pictures, [(64, 64)] * 2)
    found = sources.list_all(bench.spec().spec, bench.folder)
    Path(paths[0]).unlink()
    with scratch() as file:
        rows = [row for batch in look.look(found, bench.renew(), Seen(file)).batches() for row in batch.to_pylist()]
    gone = next(row for row in rows if row["path"] == paths[0].name)
    assert gone["reason"] == "unreadable"
    assert "No such file" in gone["detail"]
    assert str(bench.folder) not in gone["detail"]


@pytest.mark.parametrize("caption", ["", "   \n\n", "😀" * 500, "x" * 100_000, "\x00\x07"])
def test_any_caption_is_a_row(bench: Bench, caption: str) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 2)
    first, second = sorted(bench.pictures.iterdir())
    first.with_suffix(".txt").write_text(caption)
    second.with_suffix(".txt").write_text("a cat")
    rows = bench.rows(captionStrategy="textfile")
    assert rows[0]["reason"] == ("" if caption.strip() else "caption_missing")
