"""Small pictures decoded in other processes: the rows are those of one process, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from kubetuner.context import Silence
from kubetuner.errors import Interrupted
from kubetuner.ingest.core import decoding, look, sources
from kubetuner.ingest.core.decoding import Decoders
from kubetuner.ingest.core.run import reference
from kubetuner.ingest.core.seen import Seen, scratch
from tests import builders
from tests.processes import children
from tests.unit.ingest.bench import Bench
from tests.unit.ingest.samples import samples

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged files


@pytest.fixture
def full(bench: Bench) -> Bench:
    """A bench with pictures of many formats, damaged ones, and one that is too large to be sent."""
    for number, content in enumerate(samples().values()):
        (bench.pictures / f"{number:03d}.png").write_bytes(content)
        (bench.pictures / f"{number:03d} cut.png").write_bytes(content[: number * len(content) // 30])
    for number in range(400):
        builders.picture((40 + number % 50, 64)).save(bench.pictures / f"small {number}.jpg")
    builders.picture((400, 300)).save(bench.pictures / "large.bmp")
    builders.picture((64, 64)).save(bench.pictures / "moves.gif", save_all=True, append_images=[builders.picture((64, 64)).rotate(90)])
    (bench.pictures / "nothing.jpg").touch()
    assert (bench.pictures / "large.bmp").stat().st_size > decoding.LARGEST_SMALL
    return bench


def rows(bench: Bench, processes: int) -> tuple[str, list[dict[str, Any]], int]:
    """Fingerprint of the manifest, what was seen, and how many were decoded."""
    spec = bench.spec().spec
    found = sources.list_all(spec, bench.folder)
    ctx = Bench(bench.folder).context
    with scratch() as file:
        seen = look.look(found, ctx, Seen(file), processes=processes)
        name = reference(seen, [one.dataset for one in found], seed=1).fingerprint
        return name, [row for batch in seen.batches() for row in batch.to_pylist()], ctx.work["imagesRead"]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_sees_the_same(full: Bench, processes: int) -> None:
    alone = rows(full, 0)
    assert {row["reason"] for row in alone[1]} == {"", "unreadable", "animated"}
    assert alone[2] == len(alone[1]) > 3 * 128
    assert rows(full, processes) == alone


def test_pictures_of_a_process_that_was_killed_are_decoded_here() -> None:
    contents = list(samples().values())
    with Decoders(1) as decoders:
        before = decoders.decode(contents, False)
        os.kill(_only_child(), signal.SIGKILL)
        assert decoders.decode(contents, False) == before == [decoding.decode(content, False) for content in contents]
        assert decoders.decode(contents, False) == before


def test_processes_are_gone_at_the_end() -> None:
    with Decoders(2) as decoders:
        decoders.decode([b""], False)
        child = _only_child()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_process_ends_with_the_one_that_started_it() -> None:
    program = "import os; from kubetuner.ingest.core import decoding; own = decoding.Decoders(1); own.decode([b''], False); os._exit(9)"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.read() == b""  # of both: as long as one of them lives, this waits
    assert process.returncode == 9


class _Stop(Silence):
    """Asks to stop at the first picture."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def advance(self, count: int = 1, **figures: float) -> None:
        self._bench.context.cancelled.set()


def test_interrupted_run_leaves_no_process(full: Bench) -> None:
    found = sources.list_all(full.spec().spec, full.folder)
    full.context.progress = _Stop(full)
    with scratch() as file, pytest.raises(Interrupted):
        look.look(found, full.context, Seen(file), processes=2)
    assert _children() == []


@pytest.mark.parametrize(("pictures", "cores", "expected"), [(100_000, 1, 0), (100_000, 2, 2), (100_000, 64, 8), (100, 64, 0)])
def test_processes_are_started_only_where_they_pay(pictures: int, cores: int, expected: int) -> None:
    assert decoding.worthwhile(pictures, cores) == expected


def test_process_has_neither_arrow_nor_protobuf() -> None:
    program = "import sys; import kubetuner.ingest.core.decoding; print(sorted({'pyarrow', 'google.protobuf', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def _children() -> list[int]:
    """Processes that decode for this one; other tests' servers are its children, too."""
    return [number for number, command in children(os.getpid()).items() if decoding.__name__ in command]


def _only_child() -> int:
    (child,) = _children()
    return child
