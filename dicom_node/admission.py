"""Who may call: AE titles, addresses, and how many at the same time."""

import ipaddress
import re
import threading

from core.settings import Caller, Settings
from dicom_node.statuses import (
    CALLED_AE_TITLE_UNKNOWN,
    CALLING_AE_TITLE_UNKNOWN,
    LOCAL_LIMIT_EXCEEDED,
    Rejection,
)

# PS3.8 Table 9-11: called and calling AE title in an A-ASSOCIATE-RQ; PS3.5 Table 6.2-1: what a title is made of
_CALLED, _CALLING = slice(10, 26), slice(26, 42)
_TITLE = re.compile(rb"(?! *\Z)[ -\[\]-~]{16}")


def judge_titles(request: bytes) -> Rejection | None:
    """The rejection of an A-ASSOCIATE-RQ whose titles are blank or none at all; None when they are not its fault."""
    if len(request) < _CALLING.stop:
        return None
    if not _TITLE.fullmatch(request[_CALLED]):
        return CALLED_AE_TITLE_UNKNOWN
    return None if _TITLE.fullmatch(request[_CALLING]) else CALLING_AE_TITLE_UNKNOWN


def judge_caller(
    settings: Settings, calling: str, called: str, address: str, certificate: str = ""
) -> Rejection | None:
    """The rejection for an association request, None when it is welcome. A demo is open to everyone on loopback.

    `certificate` is the SHA-256 fingerprint of what the caller showed over TLS, empty where it showed nothing.
    """
    if called not in settings.ae_titles:
        return CALLED_AE_TITLE_UNKNOWN
    if settings.demo:
        return None
    known = [caller for caller in settings.callers.values() if calling in caller.ae_titles]
    if any(_may_call_from(caller, address) and _may_show(caller, certificate) for caller in known):
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


def _may_show(caller: Caller, certificate: str) -> bool:
    return not caller.certificates or certificate in caller.certificates


class Places:
    """Counts associations, in all and by address."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_associations
        self._most_per_address = settings.max_associations_per_address
        self._lock = threading.Lock()
        self._taken: dict[threading.Thread, str] = {}

    def take(self, address: str, holder: threading.Thread) -> Rejection | None:
        """Take a place for an association's thread; the rejection when there is none."""
        with self._lock:
            # A thread that ended in an error of the library never says that it leaves
            self._taken = {one: where for one, where in self._taken.items() if one.is_alive()}
            here = sum(where == address for where in self._taken.values())
            if len(self._taken) >= self._most or here >= self._most_per_address:
                return LOCAL_LIMIT_EXCEEDED
            self._taken[holder] = address
            return None

    def leave(self, holder: threading.Thread) -> None:
        """Give a place back; without effect where there is none."""
        with self._lock:
            self._taken.pop(holder, None)


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
