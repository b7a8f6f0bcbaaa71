"""Claims: a living owner keeps others off, a dead one does not."""

import json
import subprocess
import sys
from typing import Any

import pytest

from kubetuner.artifacts.claims import Claims
from kubetuner.storage.memory import MemoryStore
from tests.processes import has_ended
from tests.waiting import until


def test_a_claim_keeps_others_off_while_it_is_held() -> None:
    store = MemoryStore()
    mine, theirs = Claims(store=store), Claims(store=store)
    with mine.take("x") as got:
        assert got
        with theirs.take("x") as other, theirs.take("y") as another:
            assert (other, another) == (False, True)
    with theirs.take("x") as got:
        assert got


def test_a_claim_is_gone_after_an_error() -> None:
    store = MemoryStore()
    with pytest.raises(RuntimeError), Claims(store=store).take("x"):
        raise RuntimeError
    assert list(store.list()) == []


def leave(store: MemoryStore, **changes: Any) -> None:
    claim = {"owner": "another", "beat": 3, "host": "elsewhere", "process": 1, "started": "0", **changes}
    store.put("claims/x", json.dumps(claim).encode(), replace=True)


@pytest.mark.parametrize("waited_for", [False, True])
def test_a_claim_of_an_ended_process_of_this_machine_is_taken_at_once(waited_for: bool) -> None:
    store = MemoryStore()
    program = "import sys; from kubetuner.artifacts.claims import _start_of; print(_start_of(sys.argv[1] or 'self'), flush=True); input()"
    ended = subprocess.Popen(
        [sys.executable, "-c", program, ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert ended.stdin is not None
    assert ended.stdout is not None
    leave(store, host="here", process=ended.pid, started=ended.stdout.readline().decode().strip())
    mine = Claims(store=store, host="here")
    with mine.take("x") as got:
        assert not got
    ended.kill()
    until(lambda: has_ended(ended.pid))
    if waited_for:
        ended.communicate()
    with mine.take("x") as got:
        assert got
    ended.communicate()


def test_a_claim_from_elsewhere_is_taken_once_its_beat_has_stopped() -> None:
    store = MemoryStore()
    mine = Claims(store=store, host="here", dead_after_seconds=0.0)
    leave(store)
    with mine.take("x") as got:
        assert not got  # seen for the first time
    leave(store, beat=4)
    with mine.take("x") as got:
        assert not got  # it beats
    with mine.take("x") as got:
        assert got


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"host": "elsewhere"}', b"\xff"])
def test_a_claim_that_cannot_be_read_holds_nobody_off_for_ever(content: bytes) -> None:
    store = MemoryStore()
    store.put("claims/x", content)
    claims = Claims(store=store, dead_after_seconds=0.05)

    def taken() -> bool:
        with claims.take("x") as got:
            return got

    assert not taken()
    until(taken)
