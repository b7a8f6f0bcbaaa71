"""What each verb does, from parsed options to an exit code."""

from __future__ import annotations

import json
import os
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kubetuner.errors import SpecErrors

if TYPE_CHECKING:
    from kubetuner.context import StageContext
    from kubetuner.v1alpha1.training_run_pb2 import TrainingRun

DONE = 0
WRONG_INPUT = 2


def run_(options: Namespace, stopped: threading.Event) -> int:
    """`kubetuner run`."""
    run = _resolved(options)
    from kubetuner import local

    with _context(options, stopped) as ctx:
        out = Path(options.out or run.metadata.name)
        outcome = local.run(run, out, ctx)
    if options.json:
        print(json.dumps(outcome.result, ensure_ascii=False), flush=True)
    else:
        print(f"done: {out}/report/index.html")
    return DONE


def export_(options: Namespace, stopped: threading.Event) -> int:
    """`kubetuner export`."""
    run = _resolved(options)
    from kubetuner import local

    out = Path(options.out or f"{run.metadata.name}-{options.step}")
    with _context(options, stopped) as ctx:
        local.export(run, options.step, out, ctx)
    print(json.dumps({"out": str(out), "step": options.step}) if options.json else f"done: {out}")
    return DONE


@contextmanager
def _context(options: Namespace, stopped: threading.Event) -> Iterator[StageContext]:
    """The surroundings of the stages in this process, with progress on screen."""
    from kubetuner.cli import progress
    from kubetuner.context import StageContext
    from kubetuner.diffusion import malloc
    from kubetuner.storage import open_store

    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):  # their advice is about packages and options that a run does not use
        os.environ.setdefault(name, "error")
    malloc.keep_freed_memory(options.device)
    with progress.choose(plain=options.json) as shown:
        yield StageContext(
            store=open_store(options.store, note=shown.note),
            base=_base(options.file),
            device=options.device,
            progress=shown,
            cancelled=stopped,
        )


def inspect_(options: Namespace, stopped: threading.Event) -> int:
    """`kubetuner inspect`."""
    run = _resolved(options)
    from kubetuner.cli import progress
    from kubetuner.context import StageContext
    from kubetuner.ingest.core.inspect import inspect
    from kubetuner.ingest.core.inspect_text import inspect_text
    from kubetuner.storage import open_store
    from kubetuner.storage.dry import DryStore
    from kubetuner.storage.memory import MemoryStore

    with progress.choose(plain=options.json) as shown:
        store = DryStore(open_store(options.store, create=False, note=shown.note) if options.store else MemoryStore())
        report = inspect(run, StageContext(store=store, base=_base(options.file), progress=shown, cancelled=stopped))
    print(json.dumps(report, ensure_ascii=False) if options.json else inspect_text(report))
    return WRONG_INPUT if any(problem["level"] == "error" for problem in report["problems"]) else DONE


def validate_(options: Namespace, _: threading.Event) -> int:
    """`kubetuner validate`."""
    from kubetuner.spec.resolve import to_json

    try:
        run = _resolved(options)
    except SpecErrors as error:
        if not options.json:
            raise
        print(json.dumps({"valid": False, "errors": [{"path": one.path, "message": one.problem} for one in error.errors]}))
        return WRONG_INPUT
    if options.json:
        print(json.dumps({"valid": True, "run": to_json(run)}, ensure_ascii=False))
    else:
        print(f"{options.file}: valid")
    return DONE


def import_(options: Namespace, _: threading.Event) -> int:
    """`kubetuner import`."""
    from kubetuner.spec.resolve import to_yaml
    from kubetuner.spec.simpletuner import import_config

    imported = import_config(Path(options.config), None if options.backend is None else Path(options.backend))
    text = to_yaml(imported.run)
    if options.output == "-":
        sys.stdout.write(text)
    else:
        Path(options.output).write_text(text, "utf-8")
    if options.json:
        report = {"carried": imported.carried, "notCarried": [{"key": key, "reason": reason} for key, reason in imported.not_carried]}
        print(json.dumps(report, ensure_ascii=False), file=sys.stderr if options.output == "-" else sys.stdout)
    else:
        for key, reason in imported.not_carried:
            print(f"kubetuner: not carried: {key}: {reason}", file=sys.stderr)
    return DONE


def store_(options: Namespace, _: threading.Event) -> int:
    """`kubetuner store`."""
    from kubetuner.cli import store

    return store.run(options)


def push_(options: Namespace, stopped: threading.Event) -> int:
    """`kubetuner push`."""
    from kubetuner.cli import cluster

    return cluster.push(options, stopped)


def apply_(options: Namespace, stopped: threading.Event) -> int:
    """`kubetuner apply`."""
    from kubetuner.cli import cluster

    return cluster.apply(options, stopped)


def watch_(options: Namespace, stopped: threading.Event) -> int:
    """`kubetuner watch`."""
    from kubetuner.cli import cluster

    return cluster.watch(options, stopped)


def outputs_(options: Namespace, stopped: threading.Event) -> int:
    """`kubetuner outputs`."""
    from kubetuner.cli import cluster

    return cluster.outputs(options, stopped)


def _resolved(options: Namespace) -> TrainingRun:
    from kubetuner.spec.load import load_run
    from kubetuner.spec.resolve import resolve

    return resolve(load_run(Path(options.file), options.overrides))


def _base(file: str) -> Path:
    """Relative paths of a run start at its file."""
    return Path(file).absolute().parent
