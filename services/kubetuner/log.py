"""Logs for machines: one JSON object a line on standard output, with what the process is about (run, stage, attempt) on each.

In the words of structlog; what other packages log by the standard library comes out in the same form.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import structlog

LEVELS: Final = ("debug", "info", "warning", "error")
_about: dict[str, Any] = {}


def configure(level: str = "info", *, out: TextIO | None = None) -> None:
    """Send all logs of this process to `out` (standard output by default), from this level on."""
    number = getattr(logging, level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_about,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer(ensure_ascii=False)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    logging.captureWarnings(True)


def about(**names: Any) -> None:
    """Put these on each line from now on: what the whole process is about."""
    _about.update(names)


def forget() -> None:
    """As if nothing had been configured."""
    _about.clear()
    structlog.reset_defaults()
    logging.captureWarnings(False)


def get(name: str) -> Any:
    """A logger; call its methods with an event and names."""
    return structlog.stdlib.get_logger(name)


def _add_about(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    return {**_about, **event}
