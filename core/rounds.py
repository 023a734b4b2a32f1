"""A process that does rounds of work: at once when it is woken, and every few seconds anyway."""

import os
import threading
import time
import traceback
from collections.abc import Callable

import structlog

from core.errors import Unavailable

_log = structlog.get_logger(__name__)
_HUNG = 70  # EX_SOFTWARE of sysexits.h: whoever started us starts us again


class Rounds:
    """Runs `work` from one thread of its own: every `every_s`, and at once after `wake`.

    `work` returns how much it did; rounds follow each other until it did nothing. A round longer than `limit_s` ends
    the process: a hung network or driver can't be stopped otherwise, and the lease lets another worker go on.
    """

    def __init__(self, name: str, work: Callable[[], int], every_s: float, limit_s: float | None = None) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._limit_s = limit_s
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._began: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"{name}-rounds", daemon=True)
        self._watch = threading.Thread(target=self._watch_over, name=f"{name}-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()
        if self._limit_s:
            self._watch.start()

    def wake(self) -> None:
        """Start a round at once; returns at once."""
        self._woken.set()

    def stop(self, deadline_s: float = 60) -> None:
        """Finish the round that runs, and start no other."""
        self._stopping.set()
        self._woken.set()
        if self._thread.ident is not None:  # else it was never started
            self._thread.join(deadline_s)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def _run(self) -> None:
        while not self.stopping:
            self._woken.clear()
            if not self._round():
                self._woken.wait(self._every_s)

    def _round(self) -> int:
        self._began = time.monotonic()
        try:
            return self._work()
        except Unavailable as error:
            _log.warning("postponed", process=self._name, why=str(error))
            return 0
        except Exception as error:  # noqa: BLE001 - the thread's edge: a thread that died would leave its work undone
            # The message of a foreign exception may hold text of a sender; its type and place say enough
            where = traceback.extract_tb(error.__traceback__)[-1]
            _log.error(
                "round_raised", process=self._name, error=type(error).__name__, where=f"{where.filename}:{where.lineno}"
            )
            return 0
        finally:
            self._began = None

    def _watch_over(self) -> None:
        assert self._limit_s is not None
        while not self._stopping.wait(1.0):
            began = self._began
            if began is not None and time.monotonic() - began > self._limit_s:
                _log.error("round_hung", process=self._name, limit_s=self._limit_s, what_now="this process ends itself")
                os._exit(_HUNG)
