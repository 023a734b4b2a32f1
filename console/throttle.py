"""Guessing passwords is slow: after a few failures an account waits, counted for each address."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

FAILURES, ADDRESS_FAILURES, WINDOW_S = 5, 30, 300.0
_MOST = 10_000


class Throttle:
    """Counts failures by account and address, and by address over all accounts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, account: str, address: str) -> float:
        """Seconds until the next try may be made; 0 when it may be made now."""
        with self._lock:
            return max(self._wait((account, address), FAILURES), self._wait(("", address), ADDRESS_FAILURES))

    def failed(self, account: str, address: str) -> None:
        """Count a failure."""
        with self._lock:
            for key in ((account, address), ("", address)):
                self._failures.setdefault(key, []).append(self._clock())
                self._failures.move_to_end(key)
            while len(self._failures) > _MOST:
                self._failures.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of an account."""
        with self._lock:
            self._failures.pop((account, address), None)

    def _wait(self, key: tuple[str, str], most: int) -> float:
        now = self._clock()
        recent = [at for at in self._failures.get(key, []) if now - at < WINDOW_S]
        if not recent:
            self._failures.pop(key, None)
            return 0.0
        self._failures[key] = recent
        return recent[-most] + WINDOW_S - now if len(recent) >= most else 0.0
