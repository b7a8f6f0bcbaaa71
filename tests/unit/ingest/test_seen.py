"""What was seen is kept in a file: in order, as often as it is read, and gone afterwards."""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa
import pytest

from kubetuner.errors import KubeTunerError
from kubetuner.ingest.core.seen import SCHEMA, Seen, pack, scratch, writing


def batch(number: int, rows: int) -> pa.RecordBatch:
    blank = {field.name: 0 if pa.types.is_integer(field.type) else None for field in SCHEMA}
    return pa.RecordBatch.from_pylist([{**blank, "source": number, "path": f"{row}.png"} for row in range(rows)], SCHEMA)


def test_rows_come_back_in_their_order_as_often_as_they_are_read() -> None:
    batches = [batch(number, rows) for number, rows in enumerate((3, 1, 700))]
    with scratch() as file:
        seen = Seen(file)
        seen.add(pack(batches[:2]))
        assert list(seen.batches()) == batches[:2]
        seen.add(pack(batches[2:]))
        assert list(seen.batches()) == list(seen.batches()) == batches


def test_nothing_seen_is_no_rows() -> None:
    with scratch() as file:
        assert list(Seen(file).batches()) == []


def test_a_scratch_file_leaves_nothing_behind_a_killed_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBETUNER_CACHE", str(tmp_path))
    with scratch() as file:
        file.write(b"rows")
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_with_its_cure() -> None:
    with pytest.raises(KubeTunerError, match="free space there, or set KUBETUNER_CACHE"), writing():
        raise OSError(errno.ENOSPC, "No space left on device")
