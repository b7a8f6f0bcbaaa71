"""Pictures are decoded beside this process as in it, and no process is left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from kubetuner.errors import KubeTunerError
from kubetuner.ingest.core import decoding


def content(red: int, form: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (9, 7), (red, 20, 30)).save(data, form)
    return data.getvalue()


CONTENTS = [content(1), b"no picture", content(2, "JPEG"), b"", content(3)[:-30]]


def test_processes_tell_what_this_one_tells() -> None:
    here = decoding.Here().decode(CONTENTS, seek_face=False)
    with decoding.Beside(1) as beside:
        assert beside.decode(CONTENTS, seek_face=False) == here
    assert [told.get("reason") for told in here] == [None, "unreadable", None, "unreadable", "unreadable"]
    assert (here[0]["width"], here[0]["height"], here[0]["face"]) == (9, 7, None)


@pytest.mark.parametrize(
    ("pictures", "cores", "chosen"),
    [(decoding.MANY, 2, decoding.Beside), (decoding.MANY - 1, 2, decoding.Here), (decoding.MANY, 1, decoding.Here)],
)
def test_few_pictures_and_a_lone_core_are_not_worth_a_process(pictures: int, cores: int, chosen: type) -> None:
    with decoding.choose(pictures, cores) as decoders:
        assert isinstance(decoders, chosen)


def test_a_decoder_that_is_killed_is_told_of() -> None:
    with decoding.Beside(1) as beside, ThreadPoolExecutor(1) as thread:
        beside.decode([], seek_face=False)
        [child] = children(os.getpid())
        asked = thread.submit(beside.decode, [content(4)] * 20_000, seek_face=False)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(KubeTunerError, match="run again"):
            asked.result()


def test_decoders_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from kubetuner.ingest.core import decoding\n"
        "if __name__ == '__main__':\n"
        "    with decoding.Beside(1) as beside:\n"
        "        beside.decode([], seek_face=False)\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": "services"}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        decoders = children(parent.pid)
        assert decoders
        parent.kill()
    ends = time.monotonic() + 30
    while any(map(lives, decoders)) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not any(map(lives, decoders))


def children(process: int) -> list[int]:
    """Processes that a process has started to decode."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            started = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == process and b"spawn_main" in started:
            found.append(int(place.name))
    return found


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
