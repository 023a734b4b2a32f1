"""Celery's side of a process: a task that wakes its rounds.

A task holds no job: the database owns the work, so a wake-up may be lost, doubled or late without harm.
"""

import logging
import signal
import socket
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any

from celery import Celery
from celery.apps.worker import Worker
from celery.exceptions import SecurityWarning
from celery.platforms import EX_OK
from celery.signals import setup_logging
from celery.worker import state

from core.names import CLASSIFY_TASK, DELIVER_TASK
from core.rounds import Rounds
from core.settings import Settings
from core.wakeup import broker_options


def build_app(settings: Settings, rounds: Sequence[Rounds]) -> Celery:
    """A Celery application whose two tasks wake the given rounds."""
    app = Celery("ecg_node")
    app.conf.update(broker_options(settings))

    def wake(*_args: Any, **_kwargs: Any) -> None:
        for one in rounds:
            one.wake()

    app.task(wake, name=CLASSIFY_TASK)
    app.task(wake, name=DELIVER_TASK)
    return app


class _Consumer(Worker):
    """Celery's worker without its banner, its own words at the end, and its restart by SIGHUP."""

    def install_platform_tweaks(self, worker: Any) -> None:
        def stop(_number: int, _frame: FrameType | None) -> None:
            state.should_stop = EX_OK

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)


def run_consumer(app: Celery, queues: Sequence[str], name: str) -> None:
    """Consume wake-ups until SIGTERM or SIGINT; a broker that is away is asked again for ever."""
    # It warns a superuser of pickled messages; only JSON is accepted here
    warnings.simplefilter("ignore", SecurityWarning)
    # Celery would set the root logger to its own level, and what was answered and delivered would be in no log
    setup_logging.connect(_leave_logs_alone)
    for library in ("celery", "kombu"):
        logging.getLogger(library).setLevel(logging.WARNING)
    _Consumer(
        app=app,
        hostname=f"{name}@{socket.gethostname()}",
        pool_cls="solo",
        queues=list(queues),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    ).start()


def _leave_logs_alone(**_named: object) -> None:
    """Receives Celery's question whether somebody else sets up logging; that it is there is the answer."""
