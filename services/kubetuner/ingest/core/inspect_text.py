"""An inspection as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kubetuner.artifacts.objects import Json

_NOT_USED_SHOWN: Final = 20
_CUT_SHOWN: Final = 5
_LONGEST_CELL: Final = 72


def inspect_text(report: Json) -> str:
    """Tables of datasets, buckets and pictures left out; captions, steps, and problems with their cures."""
    parts = [
        _table(("dataset", "kind", "found", "used", "not used"), [_dataset(row) for row in report["datasets"]]),
        _table(("dataset", "bucket", "size", "pictures", "samples", "batches", ""), [_bucket(row) for row in report["buckets"]]),
        _left_out(report["images"]),
        _captions(report["captions"]),
        _length(report),
        _problems(report["problems"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _dataset(row: Json) -> tuple[str, ...]:
    reasons = ", ".join(f"{count} {reason}" for reason, count in row["reasons"].items())
    return row["id"], row["kind"], str(row["found"]), str(row["used"]), reasons or "-"


def _bucket(row: Json) -> tuple[str, ...]:
    size = f"{row['size'][0]}x{row['size'][1]}"
    counts = (str(row["count"]), str(row["samples"]), str(row["batches"]))
    return row["dataset"], row["bucket"], size, *counts, "" if row["enough"] else "below a batch"


def _left_out(images: Sequence[Json]) -> str:
    rows = [row for row in images if not row["used"] and row["reason"] != "not_sampled"]
    if not rows:
        return ""
    text = _table(("not used", "reason", "why"), [(row["uri"], row["reason"], row["detail"]) for row in rows[:_NOT_USED_SHOWN]])
    more = len(rows) - _NOT_USED_SHOWN
    return text + (f"\n... and {more} more; see --json" if more > 0 else "")


def _captions(row: Json) -> str:
    cut = f"{row['cut']} cut at {row['limit']} tokens" if row["counted"] else "tokens not counted"
    lines = [f"captions: {row['total']} ({row['distinct']} distinct), {row['missing']} pictures without, {cut}"]
    lines += [f"  {found['tokens']} tokens: {_cell(found['caption'])}" for found in row["cutCaptions"][:_CUT_SHOWN]]
    return "\n".join(lines)


def _length(report: Json) -> str:
    return (
        f"{report['batches']} batches of at most {report['batchSize']}, {report['stepsPerEpoch']} steps an epoch; "
        f"the run trains {report['steps']} steps, {report['epochs']:g} epochs"
    )


def _problems(rows: Sequence[Json]) -> str:
    if not rows:
        return "no problems"
    return "\n".join(f"{row['level']}: {row['message']}" + (f"\n  cure: {row['fix']}" if row["fix"] else "") for row in rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell; numbers to the right."""
    if not rows:
        return ""
    lines = [heads, *[[_cell(cell) for cell in row] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    numeric = [all(row[column].isdigit() for row in rows) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(text: str) -> str:
    """One line, without control characters, cut in the middle where it is too long."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in text)
    half = _LONGEST_CELL // 2
    return plain if len(plain) <= _LONGEST_CELL else f"{plain[: half - 2]}...{plain[-half + 1 :]}"
