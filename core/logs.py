"""Logs: one JSON object a line with ids, never patient data."""

import logging
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import structlog

from core.settings import Settings


def start_logging(settings: Settings, process: str) -> None:
    """Send every log line of this process to standard error, with its name on it."""
    level = getattr(logging, settings.log_level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_words,
    ]
    last = structlog.dev.ConsoleRenderer() if settings.log_format == "console" else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # pynetdicom and pydicom log headers and AE titles of peers: patient data must not reach a log
    logging.captureWarnings(True)
    for noisy in ("pynetdicom", "pydicom", "sqlalchemy", "celery.app.trace", "py.warnings"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL + 1)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    threading.excepthook = _log_thread_death


def _without_words(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """An exception as its type and the places it passed: its message may hold what a sender wrote."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["passed"] = [
            f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in traceback.extract_tb(error.__traceback__)
        ]
    return event


def _log_thread_death(died: threading.ExceptHookArgs) -> None:
    """A thread that died of an exception nobody handled; Python's own way prints the exception's words."""
    if died.exc_type is SystemExit:
        return
    name = died.thread.name if died.thread else "unknown"
    structlog.get_logger(__name__).error("thread_died", thread=name, exc_info=died.exc_value)
