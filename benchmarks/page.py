"""The table of docs/performance.md, made from bench.json: what stands between the two marks is replaced, the rest is written by hand.

python -m benchmarks.page build/bench.json docs/performance.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import figures

_BEGIN: Final = "<!-- figures: made by `make bench ARGS=--write-docs` -->"
_END: Final = "<!-- end of figures -->"


def write(path: Path, account: Mapping[str, Any]) -> None:
    """Put the table into the page."""
    before, _, rest = path.read_text("utf-8").partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    assert mark, f"{path} has no place for the table"
    path.write_text(f"{before}{_BEGIN}\n{table(account)}\n{_END}{after}", "utf-8")


def table(account: Mapping[str, Any]) -> str:
    """Where it was measured, and the figures."""
    machine = account["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = (
        f"Measured on {machine['date']} on {machine['device']}, {machine['cores']} cores; {machine['pairs']} pairs, "
        f"{machine['side']} px, batch size {machine['batchSize']}; {versions}."
    )
    return f"\n{where}\n\n{figures.as_markdown(figures.from_json(account['rows']))}\n"


if __name__ == "__main__":
    write(Path(sys.argv[2]), json.loads(Path(sys.argv[1]).read_text("utf-8")))
