"""Celery's side of a process: a task that wakes its rounds.

A task holds no job: the database owns the work, so a wake-up may be lost, doubled or late without harm.
"""

from collections.abc import Sequence
from typing import Any

from celery import Celery

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


def run_consumer(app: Celery, queues: Sequence[str], name: str) -> None:
    """Consume wake-ups until SIGTERM or SIGINT; a broker that is away is asked again for ever."""
    app.worker_main(
        [
            "worker",
            "--pool=solo",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            f"--hostname={name}@%h",
            f"--queues={','.join(queues)}",
            "--loglevel=WARNING",
        ]
    )
