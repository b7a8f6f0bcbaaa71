"""Work beside the training rests, until somebody waits for it."""

from __future__ import annotations

import threading

from kubetuner.storage import blocks
from kubetuner.train.core.pace import Pace, Paced

FOR_EVER = 1e8
"""Years for a second's work, and no longer than a wait can be where the machine counts seconds of its own as work."""
CONTENT = bytes(range(256)) * 10_000
SECONDS = 120.0


def test_paced_bytes_are_the_same_bytes() -> None:
    paced = Paced(memoryview(CONTENT), Pace(0.0))
    assert len(paced) == len(CONTENT)
    assert b"".join(blocks(paced)) == bytes(paced[:]) == CONTENT


def test_a_reader_rests_until_somebody_waits_for_it() -> None:
    pace = Pace(FOR_EVER)
    parts: list[bytes] = []
    first = threading.Event()

    def read() -> None:
        for part in blocks(Paced(memoryview(CONTENT), pace)):
            parts.append(bytes(part))
            first.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert first.wait(SECONDS)
    reader.join(0.1)
    assert len(parts) == 1
    pace.hurry()
    reader.join(SECONDS)
    assert b"".join(parts) == CONTENT
