"""What a stage gets besides its spec and its source: store, device, progress and cancellation. Nothing else goes in or out."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kubetuner.errors import Interrupted
from kubetuner.storage import ObjectStore


class Progress(Protocol):
    """Where a stage says how far it is; a terminal, a Job's event stream, or a list in a test."""

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        """A new count begins: `total` units, `done` of them in an earlier run."""

    def advance(self, count: int = 1, **figures: float) -> None:
        """`count` more units are done; figures as loss and learning rate are shown beside."""

    def note(self, message: str) -> None:
        """One line for the user."""


class Silence:
    """Progress that nobody watches."""

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        pass

    def advance(self, count: int = 1, **figures: float) -> None:
        pass

    def note(self, message: str) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of a stage's work this process begins with, where several share it. All of them together do the whole."""

    index: int = 0
    count: int = 1
    name: str = ""
    """Names the processes that share; the same in all of them, and in no others."""


@dataclass(kw_only=True)
class StageContext:
    """The surroundings of a stage."""

    store: ObjectStore
    """Where artifacts live."""
    base: Path = field(default_factory=Path.cwd)
    """Folder that relative paths of the spec start at."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    progress: Progress = field(default_factory=Silence)
    """Where to say how far it is."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when somebody asks to stop; stages look between units of work."""
    work: Counter[str] = field(default_factory=Counter)
    """Units of work done in this process: imagesRead, captionsEncoded, imagesEncoded, stepsTrained, imagesGenerated."""
    share: Share = field(default_factory=Share)
    """The part to begin with."""

    def check(self) -> None:
        """Raise Interrupted where somebody asked to stop."""
        if self.cancelled.is_set():
            raise Interrupted("interrupted; the state is saved, run the same command again to go on")
