"""The stage ingest: rows, resume, and what changes a manifest's name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from kubetuner.artifacts import manifest
from kubetuner.context import Silence
from kubetuner.errors import InputError, Interrupted, SpecError
from kubetuner.ingest.core.run import run
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from tests import builders
from tests.unit.ingest.bench import Bench


def test_every_picture_has_one_row_in_order_of_its_path(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64), (100, 50), (3, 3)])
    (bench.pictures / "sub").mkdir()
    builders.picture((70, 70)).save(bench.pictures / "sub" / "A.JPG")
    (bench.pictures / "broken.png").write_bytes(b"")
    (bench.pictures / "notes.md").write_text("x")
    rows = bench.rows(minimumImageSize=32)
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert {row["path"]: row["reason"] for row in rows} == {
        "a_blue_picture_002.png": "too_small",
        "a_green_picture_001.png": "",
        "a_red_picture_000.png": "",
        "broken.png": "unreadable",
        "sub/A.JPG": "",
    }
    assert all(row["detail"] for row in rows if not row["used"])


def test_row_holds_true_size_and_geometry(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(130, 64)])
    (row,) = bench.rows(cropStyle="centre", resolution=128)
    assert (row["width"], row["height"]) == (130, 64)
    assert (row["resized_width"], row["resized_height"], row["target_width"], row["target_height"]) == (192, 94, 192, 64)
    assert row["crop_top"] == (row["resized_height"] - row["target_height"]) // 2
    assert row["captions"] == ["a red picture 000"]
    assert len(row["pixels"]) == len(row["sha256"]) == 64


def test_second_run_decodes_nothing_and_gives_the_same_manifest(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 5)
    first = bench.ingest()
    assert bench.context.work["imagesRead"] == 5
    assert bench.ingest() == first
    assert bench.context.work["imagesRead"] == 0


def test_other_spec_over_the_same_files_decodes_nothing(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 3)
    first = bench.ingest()
    assert bench.ingest(resolution=128) != first
    assert bench.context.work["imagesRead"] == 0


def test_only_the_edited_picture_is_decoded_again(bench: Bench) -> None:
    paths = builders.photographs(bench.pictures, [(64, 64)] * 3)
    before = bench.rows()
    builders.picture((64, 64), seed=99).save(paths[1])
    after = bench.rows()
    assert bench.context.work["imagesRead"] == 1
    assert [old["pixels"] == new["pixels"] for old, new in zip(before, after, strict=True)].count(False) == 1


@pytest.mark.parametrize("change", [{"repeats": 3}, {"probability": 0.5}, {"originalSize": "resized"}])
def test_what_only_training_reads_leaves_the_name(bench: Bench, change: dict[str, object]) -> None:
    builders.photographs(bench.pictures)
    assert bench.ingest() == bench.ingest(**change)


@pytest.mark.parametrize("change", [{"resolution": 128}, {"cropStyle": "centre"}, {"_seed": 2}, {"captionFilters": ["a"]}, {"id": "other"}])
def test_what_rows_hang_on_changes_the_name(bench: Bench, change: dict[str, object]) -> None:
    builders.photographs(bench.pictures)
    assert bench.ingest() != bench.ingest(**change)


def test_place_of_the_folder_leaves_name_and_rows(bench: Bench, tmp_path: Path) -> None:
    builders.photographs(bench.pictures)
    first = bench.ingest()
    shutil.copytree(bench.pictures, tmp_path / "elsewhere")
    assert bench.ingest(source={"uri": str(tmp_path / "elsewhere")}) == first


def test_crop_hangs_on_the_pixels_and_not_on_name_or_format(bench: Bench) -> None:
    image = builders.picture((640, 64))
    image.save(bench.pictures / "a.png")
    image.save(bench.pictures / "b.bmp")
    first, second = bench.rows(crop=True)
    assert first["sha256"] != second["sha256"]
    assert (first["pixels"], first["crop_left"]) == (second["pixels"], second["crop_left"])


class StopAfter(Silence):
    """Progress that asks to stop after so many pictures."""

    def __init__(self, bench: Bench, count: int) -> None:
        self._bench = bench
        self._left = count

    def advance(self, count: int = 1, **figures: float) -> None:
        self._left -= count
        if self._left == 0:
            self._bench.context.cancelled.set()


def test_interrupted_run_keeps_what_it_decoded(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 40)
    spec = bench.spec().spec
    context = bench.renew()
    context.progress = StopAfter(bench, 7)
    with pytest.raises(Interrupted):
        run(spec, None, context)
    done = context.work["imagesRead"]
    assert 7 <= done <= 40
    bench.ingest()
    assert bench.context.work["imagesRead"] == 40 - done


def test_source_is_never_written_to(bench: Bench) -> None:
    builders.photographs(bench.pictures)
    before = sorted(path.name for path in bench.folder.rglob("*"))
    bench.ingest()
    assert sorted(path.name for path in bench.folder.rglob("*")) == before


def test_sample_is_chosen_by_seed_and_content(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 12)
    chosen = {seed: [row["path"] for row in bench.rows(maxNumSamples=5, _seed=seed) if row["used"]] for seed in (1, 2)}
    assert [len(paths) for paths in chosen.values()] == [5, 5]
    assert chosen[1] != chosen[2]
    assert {row["reason"] for row in bench.rows(maxNumSamples=5)} == {"", "not_sampled"}


def test_datasets_stand_in_the_order_of_the_spec(bench: Bench) -> None:
    builders.photographs(bench.pictures, [(64, 64)] * 2)
    entries = [{"id": name, "source": {"uri": "photographs"}, "resolution": 64} for name in ("z", "a")]
    entries[1]["datasetType"] = "eval"
    entries.append({"id": "off", "source": {"uri": "nowhere"}, "disabled": True})
    spec = resolve(parse_run(builders.run_document(datasets=entries))).spec
    found = manifest.read(bench.store, run(spec, None, bench.context))
    assert found.table["dataset"].to_pylist() == ["z", "z", "a", "a"]
    assert found.used("eval").num_rows == 2
    assert [row["used"] for row in found.index["datasets"]] == [2, 2]


def test_same_picture_twice_is_used_twice_and_counted(bench: Bench) -> None:
    for name in ("a.png", "b.png", "c.png"):
        builders.picture((64, 64)).save(bench.pictures / name)
    found = manifest.read(bench.store, bench.ingest())
    assert found.index["datasets"][0]["duplicates"] == 2
    assert found.used("image").num_rows == 3


@pytest.mark.parametrize(
    ("files", "words"), [({}, "holds no pictures"), ({"a.png": b""}, "1 unreadable"), ({"a.md": b"x"}, "1 other files")]
)
def test_no_usable_picture_is_an_error_with_counts_and_cure(bench: Bench, files: dict[str, bytes], words: str) -> None:
    for name, content in files.items():
        (bench.pictures / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        bench.ingest()
    assert "spec.datasets[0].source.uri" in str(caught.value)


def test_missing_folder_is_an_error_of_its_field(bench: Bench) -> None:
    with pytest.raises(SpecError, match=r"spec\.datasets\[0\]\.source\.uri"):
        bench.ingest(source={"uri": "nowhere"})


def test_exif_size_is_the_true_size(bench: Bench) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    builders.picture((100, 60)).save(bench.pictures / "a.png", exif=exif)
    (row,) = bench.rows()
    assert (row["width"], row["height"]) == (60, 100)
