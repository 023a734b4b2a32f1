"""Wake-ups: they make work start at once, and may be lost without harm, because the database owns the work."""

import contextlib
import queue
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from core.names import CLASSIFY_TASK, DELIVER_TASK, DELIVERY_QUEUE, ROUTINE_QUEUE, STAT_QUEUE
from core.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

CAPACITY = 1000  # more than that waiting means that the broker is away; the reconcilers find the work anyway
_QUIET_S = 5.0  # after a failed publish the broker is left alone for this long
_CONNECT_S = 3.0
_PORT = 6379  # of a Redis whose address names none
_log = structlog.get_logger(__name__)


def broker_options(settings: Settings) -> dict[str, object]:
    """Celery's settings that every process of the node shares."""
    return {
        "broker_url": settings.broker_url.get_secret_value(),
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_create_missing_queues": True,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": 30,
        "worker_hijack_root_logger": False,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": 3600,
            "socket_timeout": 10,
            "socket_connect_timeout": _CONNECT_S,
            "socket_keepalive": True,
            "health_check_interval": 15,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        },
    }


class Wakeup:
    """Sends wake-ups from one thread of its own, so that nobody ever waits for the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: queue.Queue[tuple[str, str] | None] = queue.Queue(maxsize=CAPACITY)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._publish, name="wakeup", daemon=True)
        if settings.broker_url.get_secret_value():
            self._thread.start()

    def wake(self, job_id: int, stat: bool) -> None:
        """Tell the workers that a job waits; returns at once, whatever the broker does."""
        self._put(CLASSIFY_TASK, STAT_QUEUE if stat else ROUTINE_QUEUE)

    def wake_senders(self) -> None:
        """Tell the senders that a delivery waits."""
        self._put(DELIVER_TASK, DELIVERY_QUEUE)

    def _put(self, task: str, queue_name: str) -> None:
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((task, queue_name))

    def close(self) -> None:
        """Stop the thread; what still waits is dropped."""
        self._stopped.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _publish(self) -> None:
        from celery import Celery
        from kombu.exceptions import OperationalError

        app = Celery("ecg_node_wakeup")
        app.conf.update(broker_options(self._settings))
        away = False
        while not self._stopped.is_set():
            item = self._waiting.get()
            if item is None:
                return
            try:
                if away:
                    self._need_reachable()
                self._send(app, *item)
                away = False
            except (OperationalError, OSError) as error:
                away = True
                _log.warning("broker_away", error=type(error).__name__, what_now="work is found by the reconcilers")
                self._stopped.wait(_QUIET_S)
                self._forget()

    def _send(self, app: "Celery", task: str, queue_name: str) -> None:
        app.send_task(task, queue=queue_name, retry=False, ignore_result=True, expires=60)

    def _need_reachable(self) -> None:
        """Connect. Raises OSError. A try of the library's that fails leaves descriptors to the garbage collector."""
        url = urlsplit(self._settings.broker_url.get_secret_value())
        socket.create_connection((url.hostname or "localhost", url.port or _PORT), _CONNECT_S).close()

    def _forget(self) -> None:
        with contextlib.suppress(queue.Empty):
            while self._waiting.get_nowait() is not None:
                pass
