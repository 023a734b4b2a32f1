"""Where connections wait until they have asked for an association: one thread, however many there are.

A peer that connects and says nothing, or one byte, or opens a thousand connections, costs a file descriptor here and
never a thread or an association. When the lobby is full the one that waited longest has to go. A load balancer's health
check (connect, close) costs nothing.
"""

import contextlib
import select
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

A_ASSOCIATE_RQ = 0x01  # PS3.8 9.3.2
TLS_HANDSHAKE = 0x16  # RFC 8446 5.1
_HEAD = 6
# A long request is handed over before all of it is there: the kernel's buffer would not hold it
_ENOUGH = 16384
_LOOK_S = 0.25


@dataclass(slots=True)
class _Waiting:
    connection: socket.socket
    address: tuple[str, int]
    until: float


class Lobby:
    """Hands a connection to `enter` once its whole association request, or TLS hello, is there to read."""

    def __init__(
        self, enter: Callable[[socket.socket, tuple[str, int]], None], tls: bool, timeout_s: float, most: int
    ) -> None:
        self._enter = enter
        self._tls = tls
        self._timeout_s = timeout_s
        self._most = most
        self._lock = threading.Lock()
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._poll = select.epoll()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lobby", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)
        with self._lock:
            for number in list(self._waiting):
                self._close(number)
        self._poll.close()

    def admit(self, connection: socket.socket, address: tuple[str, int]) -> None:
        """Let a new connection wait; the one that waited longest leaves when there is no room."""
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _HEAD)
        with self._lock:
            while len(self._waiting) >= self._most:
                self._close(next(iter(self._waiting)))
            self._waiting[connection.fileno()] = _Waiting(connection, address, time.monotonic() + self._timeout_s)
            self._poll.register(connection.fileno(), select.EPOLLIN | select.EPOLLRDHUP)

    def _run(self) -> None:
        while not self._stopped.is_set():
            for number, event in self._poll.poll(_LOOK_S):
                self._look(number, event)
            self._send_away_late()

    def _look(self, number: int, event: int) -> None:
        with self._lock:
            one = self._waiting.get(number)
            if one is None:
                return
            if event & (select.EPOLLHUP | select.EPOLLERR):
                self._close(number)
                return
            wanted = self._bytes_missing(one.connection, bool(event & select.EPOLLRDHUP))
            if wanted is None:
                self._close(number)
                return
            if wanted:
                one.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
                return
            self._poll.unregister(number)
            del self._waiting[number]
        one.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        one.connection.setblocking(True)
        self._enter(one.connection, one.address)

    def _bytes_missing(self, connection: socket.socket, ended: bool) -> int | None:
        """0 when the request is there, how many bytes to wait for when not, None when it will never be one."""
        try:
            seen = connection.recv(_ENOUGH, socket.MSG_PEEK)
        except BlockingIOError:
            return None if ended else _HEAD
        except OSError:
            return None
        if not seen or seen[0] != (TLS_HANDSHAKE if self._tls else A_ASSOCIATE_RQ):
            return None
        if len(seen) < _HEAD:
            return None if ended else _HEAD
        length = struct.unpack_from(">H", seen, 3)[0] + 5 if self._tls else struct.unpack_from(">L", seen, 2)[0] + _HEAD
        wanted = min(length, _ENOUGH)
        if len(seen) >= wanted:
            return 0
        return None if ended else wanted

    def _send_away_late(self) -> None:
        now = time.monotonic()
        with self._lock:
            while self._waiting:
                number, first = next(iter(self._waiting.items()))
                if first.until > now:
                    return
                self._close(number)

    def _close(self, number: int) -> None:
        one = self._waiting.pop(number)
        with contextlib.suppress(OSError):
            self._poll.unregister(number)
        with contextlib.suppress(OSError):
            one.connection.close()
