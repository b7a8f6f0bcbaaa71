"""Captions from names, text files and the spec."""

from __future__ import annotations

import pytest

from kubetuner.errors import SpecError
from kubetuner.ingest.core import captions
from tests import builders
from tests.unit.ingest.bench import Bench


@pytest.mark.parametrize(
    ("key", "caption"),
    [("a_red_cat.png", "a red cat"), ("x/y/a_b.tar.JPEG", "a b.tar"), ("日本_😀.png", "日本 😀"), ("two\nlines.png", "two\nlines")],
)
def test_name_is_the_caption(key: str, caption: str) -> None:
    assert captions.from_name(key).texts == (caption,)


def test_name_that_is_not_utf8_is_refused() -> None:
    assert captions.from_name("caf\udce9.png").reason == "caption_unreadable"


@pytest.mark.parametrize(
    ("content", "split", "texts"),
    [
        (b"one\n\n two \r\nthree", True, ("one", "two", "three")),
        (b"one\ntwo\n", False, ("one\ntwo",)),
        ("\ufeffé".encode(), True, ("é",)),
        ("é".encode("utf-16"), True, ("é",)),
    ],
)
def test_text_file_holds_one_caption_a_line(content: bytes, split: bool, texts: tuple[str, ...]) -> None:
    found = captions.from_text(content, name="a.txt", split=split)
    assert captions.finish(found.texts, (), []).texts == texts


@pytest.mark.parametrize("content", [b"caf\xe9", b"x" * (1 << 20) + b"y", "é".encode("utf-16")[:-1]])
def test_text_file_that_is_no_text_or_enormous_is_refused(content: bytes) -> None:
    found = captions.from_text(content, name="a.txt", split=True)
    assert found.reason == "caption_unreadable"
    assert "a.txt" in found.detail


@pytest.mark.parametrize("texts", [(), ("",), (" \n",)])
def test_empty_caption_is_missing(texts: tuple[str, ...]) -> None:
    assert captions.finish(texts, (), []).reason == "caption_missing"


def test_every_prompt_stands_before_every_caption() -> None:
    assert captions.finish(["a", "b"], ["sks", "zwx"], []).texts == ("sks a", "sks b", "zwx a", "zwx b")


@pytest.mark.parametrize(
    ("rules", "before", "after"),
    [
        (["watermark"], "a cat, watermark", "a cat,"),
        (["a.b"], "a.b axb", "axb"),
        (["[0-9]+"], "cat 123 dog", "cat  dog"),
        (["s/cat/dog/"], "a cat", "a dog"),
        ([r"s/(\w+)_(\w+)/\2 \1/"], "red_cat", "cat red"),
        ([r"s/a\/b/c/"], "a/b", "c"),
        (["s/cat/dog/", "s/dog/cow/"], "cat", "cow"),
    ],
)
def test_filters_change_captions_in_order(rules: list[str], before: str, after: str) -> None:
    assert captions.finish([before], (), captions.compile_filters(rules, "f")).texts == (after,)


@pytest.mark.parametrize("rule", ["(", "s/(/x/", "s/a/b", "s/a/b/c/", "s//x/", r"s/a/\1/"])
def test_wrong_filter_is_named_with_its_place(rule: str) -> None:
    with pytest.raises(SpecError, match=r"captionFilters\[1\]"):
        captions.compile_filters(["fine", rule], "spec.datasets[0].captionFilters")


def test_caption_that_filters_empty_is_missing() -> None:
    assert captions.finish(["cat"], (), captions.compile_filters(["cat"], "f")).reason == "caption_missing"


def test_text_files_belong_to_pictures_of_their_name(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 3)
    names = sorted(path.stem for path in bench.pictures.iterdir())
    (bench.pictures / f"{names[0]}.txt").write_text("first\nsecond\n")
    (bench.pictures / f"{names[1]}.txt").write_bytes(b"caf\xe9")
    (bench.pictures / "orphan.txt").write_text("nobody's")
    rows = bench.rows(captionStrategy="textfile")
    assert [row["captions"] for row in rows] == [["first", "second"], [], []]
    assert [row["reason"] for row in rows] == ["", "caption_unreadable", "caption_missing"]


def test_instance_prompt_is_the_caption_of_all(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 2)
    rows = bench.rows(captionStrategy="instanceprompt", instancePrompts=["sks dog", "a sks dog"], captionFilters=["s/dog/cat/"])
    assert [row["captions"] for row in rows] == [["sks cat", "a sks cat"]] * 2
