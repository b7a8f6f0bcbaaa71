"""The verbs of a cluster: push, apply, watch, outputs. Over gRPC to a controller, or with --store straight to its object store."""

from __future__ import annotations

import json
import os
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from kubetuner.errors import InputError, Interrupted, KubeTunerError

_WRONG: Final = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "OUT_OF_RANGE", "FAILED_PRECONDITION"})
_ENDED: Final = frozenset({"Succeeded", "Failed", "Cancelled"})
_Result = TypeVar("_Result")


def push(options: Namespace, stopped: threading.Event) -> int:
    """A folder into the store."""
    from kubetuner.cli import progress

    with progress.choose(plain=options.json) as shown:
        if options.store:
            from kubetuner.cli.push import to_store

            found = to_store(Path(options.folder), options.name, options.store, shown, stopped)
        else:
            with _client(options, stopped) as kt:
                pushed = kt.push(options.folder, options.name, told=_Counted(shown).file)
            found = {"uri": pushed.uri, "files": pushed.files, "sent": pushed.sent, "sentBytes": pushed.sent_bytes}
    done = f"done: {found['uri']} ({found['files']} files, {found['sent']} of them sent)"
    print(json.dumps(found, ensure_ascii=False) if options.json else done)
    return 0


def apply(options: Namespace, stopped: threading.Event) -> int:
    """Create a run."""
    from kubetuner.artifacts.objects import canonical, fingerprint
    from kubetuner.spec.load import load_run
    from kubetuner.spec.resolve import to_json

    run = load_run(Path(options.file), options.overrides)
    with _client(options, stopped) as kt:
        request = fingerprint("apply", canonical(to_json(run)).decode())  # applied again, the same file finds its run
        made = kt.create_run(run, namespace=options.namespace or "", request_id=request, validate_only=options.dry_run)
        where = f"{made.metadata.namespace}/{made.metadata.name}"
        if options.json and not options.watch:
            print(json.dumps(to_json(made), ensure_ascii=False))
        elif not options.json:
            print(f"{where}: {'would be created' if options.dry_run else 'applied'}")
        return _follow(kt, made, 0, options) if options.watch and not options.dry_run else 0


def watch(options: Namespace, stopped: threading.Event) -> int:
    """What happens to a run."""
    with _client(options, stopped) as kt:
        return _follow(kt, options.name, options.start, options)


def outputs(options: Namespace, stopped: threading.Event) -> int:
    """A run's files."""
    from kubetuner.cli import progress

    out = Path(options.out or options.name)
    with progress.choose(plain=options.json) as shown:
        if options.store:
            from kubetuner.cli.outputs import from_store
            from kubetuner.storage import open_store

            paths = from_store(options.name, open_store(options.store, create=False, note=shown.note), out, _Counted(shown).piece, stopped)
        else:
            with _client(options, stopped) as kt:
                paths = kt.download(options.name, out, told=_Counted(shown).piece)
    names = [path.relative_to(out).as_posix() for path in paths]
    print(json.dumps({"out": str(out), "files": names}, ensure_ascii=False) if options.json else f"done: {out}/report/index.html")
    return 0


def _follow(kt: Any, run: Any, start: int, options: Namespace) -> int:
    phase = ""
    for event in kt.watch(run, start=start):
        phase = event.status.phase
        print(_event_json(event) if options.json else _line(event), flush=True)
    if phase not in _ENDED:  # it had ended before the event that was asked for
        phase = kt.get_run(run).status.phase
    return 0 if phase == "Succeeded" else 1


def _event_json(event: Any) -> str:
    from kubetuner.spec.resolve import to_json

    return json.dumps(to_json(event), ensure_ascii=False)


def _line(event: Any) -> str:
    status = event.status
    progress = status.progress
    step = f"  {progress.stage} {progress.done}/{progress.total} {progress.unit}" if progress.total and status.phase == "Running" else ""
    numbers = [(name, value) for name, value in progress.figures.items() if isinstance(value, float)] if step else []
    figures = "".join(f"  {name} {value:.4g}" for name, value in numbers)
    left = f"  {progress.eta} left" if step and progress.eta else ""
    words = f"  {event.reason}: {event.message}" if event.message else f"  {event.reason}" if event.reason else ""
    return f"{event.time.ToDatetime():%H:%M:%S}  {status.phase or 'Pending':<9}{step}{figures}{left}{words}"


class _Counted:
    """Progress in bytes, begun anew with each kind of work."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown
        self._now = ""

    def file(self, what: str, path: str, size: int, total: int) -> None:
        """A file of a push is done."""
        if what != self._now:
            self._now = what
            self._shown.start({"hash": "hashed", "send": "sent"}[what], "bytes", total)
        self._shown.advance(size)

    def piece(self, path: str, size: int, total: int) -> None:
        """A piece of an output has come."""
        if not self._now:
            self._now = "outputs"
            self._shown.start("outputs", "bytes", total)
        self._shown.advance(size)


@contextmanager
def _client(options: Namespace, stopped: threading.Event) -> Iterator[Any]:
    """A client that ends its calls where somebody asks to stop; refusals that the user can mend become InputErrors."""
    from concurrent.futures import CancelledError

    try:
        from kubetuner.client.blocking import connect_sync
        from kubetuner.client.channel import of_file
        from kubetuner.rpc.errors import Refused
    except ModuleNotFoundError as error:
        raise KubeTunerError(
            f"the package {error.name} is not installed; `pip install 'kubetuner[client]'` brings what a client needs"
        ) from error

    namespace = options.namespace or os.environ.get("KUBETUNER_NAMESPACE") or "default"
    token = of_file(Path(options.token_file)) if options.token_file else None
    found = connect_sync(options.address or "", token=token, ca=options.ca, namespace=namespace, server_name=options.server_name or "")
    over = threading.Event()
    interrupting = threading.Thread(target=_interrupt, args=(found.interrupt, stopped, over), daemon=True)
    interrupting.start()
    try:
        yield found
    except CancelledError as error:
        raise Interrupted("interrupted; what came whole is kept, run the same command again to go on") from error
    except Refused as error:
        raise (InputError if error.code.name in _WRONG else KubeTunerError)(_words(error)) from error
    finally:
        over.set()
        interrupting.join()
        found.close()


def _interrupt(end: Callable[[], None], stopped: threading.Event, over: threading.Event) -> None:
    """The main thread waits for an answer and hears of a signal only by the event."""
    while not over.wait(0.1):
        if stopped.is_set():
            end()


def _words(error: Any) -> str:
    cures = {
        "UNAVAILABLE": "the controller cannot be reached: see to --address, --ca and --server-name",
        "UNAUTHENTICATED": "",
    }
    cure = cures.get(error.code.name, "")
    return f"{error}; {cure}" if cure and error.reason == error.code.name else str(error)
