"""Who may call: AE titles, addresses, and how many at the same time."""

import ipaddress
import threading
from collections import Counter

from core.settings import Caller, Settings
from dicom_node.statuses import (
    CALLED_AE_TITLE_UNKNOWN,
    CALLING_AE_TITLE_UNKNOWN,
    LOCAL_LIMIT_EXCEEDED,
    Rejection,
)


def judge_caller(settings: Settings, calling: str, called: str, address: str) -> Rejection | None:
    """The rejection for an association request, None when it is welcome. A demo is open to everyone on loopback."""
    if called not in settings.ae_titles:
        return CALLED_AE_TITLE_UNKNOWN
    if settings.demo:
        return None
    known = [caller for caller in settings.callers.values() if calling in caller.ae_titles]
    if any(_may_call_from(caller, address) for caller in known):
        return None
    return CALLING_AE_TITLE_UNKNOWN


def is_stat_caller(settings: Settings, calling: str) -> bool:
    """Whether everything from this AE title is urgent."""
    return any(caller.stat and calling in caller.ae_titles for caller in settings.callers.values())


def _may_call_from(caller: Caller, address: str) -> bool:
    if not caller.addresses:
        return True
    peer = ipaddress.ip_address(address)
    return any(peer in ipaddress.ip_network(network, strict=False) for network in caller.addresses)


class Places:
    """Counts associations, in all and by address."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_associations
        self._most_per_address = settings.max_associations_per_address
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, address: str) -> Rejection | None:
        """Take a place; the rejection when there is none."""
        with self._lock:
            full = self._taken.total() >= self._most or self._taken[address] >= self._most_per_address
            if full:
                return LOCAL_LIMIT_EXCEEDED
            self._taken[address] += 1
            return None

    def leave(self, address: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken[address] -= 1
            if self._taken[address] <= 0:
                del self._taken[address]


class Budget:
    """Bytes that are being received, over all associations."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Reserve bytes; False when the budget is used up."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give_back(self, count: int) -> None:
        """Free bytes that were reserved."""
        with self._lock:
            self._left += count
