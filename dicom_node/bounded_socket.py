"""pynetdicom's socket, with a deadline and a cap on every read and no delay on any write."""

import select
import socket
import ssl
import time

from pynetdicom import transport
from pynetdicom.association import Association

from core.settings import Settings
from dicom_node.admission import Budget

READ_BYTES = 1 << 18
# PS3.8 D.1: a peer may not exceed the length that we offered; an association request with 128 contexts is below this
LARGEST_OTHER_PDU = 1 << 20


class BoundedSocket(transport.AssociationSocket):
    """A socket whose every read has a deadline and a cap, and whose bytes count against a budget."""

    def __init__(
        self,
        assoc: Association,
        settings: Settings,
        budget: Budget,
        connection: socket.socket | None = None,
        address: transport.AddressInformation | None = None,
    ) -> None:
        super().__init__(assoc, client_socket=connection, address=address)
        self._pdu_timeout_s = settings.pdu_timeout_s
        self._largest_pdu = max(settings.max_pdu_bytes + 4096, LARGEST_OTHER_PDU)
        self._largest_message = settings.max_instance_bytes + LARGEST_OTHER_PDU
        self._budget = budget
        self._held = 0
        self.reached = connection is not None
        if self.socket is not None:
            # Nagle's algorithm against the peer's delayed acknowledgement costs 40 ms a message
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connect(self, primitive: transport.T_CONNECT) -> None:
        """Connect, and remember whether the peer was reached at all."""
        super().connect(primitive)
        self.reached = primitive.result == "Evt2"  # PS3.8 Table 9-8: transport connection confirmation

    @property
    def ready(self) -> bool:
        """Whether there is something to read; by poll, which knows no highest file descriptor."""
        connection = self.socket
        if connection is None or not self._is_connected:
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        try:
            poll = select.poll()
            poll.register(connection, select.POLLIN | select.POLLHUP | select.POLLERR)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # PS3.8 Table 9-8: transport connection closed
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly `nr_bytes`, or what came before the peer closed. Raises OSError past a limit or the deadline."""
        if nr_bytes > self._largest_pdu:
            raise OSError("a PDU longer than agreed was refused")
        if self._held + nr_bytes > self._largest_message or not self._budget.take(nr_bytes):
            raise OSError("more bytes in flight than allowed")
        self._held += nr_bytes
        received = bytearray(nr_bytes)
        view, got = memoryview(received), 0
        end = time.monotonic() + self._pdu_timeout_s
        while got < nr_bytes:
            count = self._recv_some(view[got:], end)
            if not count:
                break
            got += count
        view.release()
        del received[got:]
        return received

    def _recv_some(self, view: memoryview, end: float) -> int:
        connection = self.socket
        left = end - time.monotonic()
        if connection is None or left <= 0:
            raise OSError("a PDU was not complete in time")
        connection.settimeout(left)
        count = connection.recv_into(view[:READ_BYTES])
        # Without it the kernel holds back the acknowledgement for 40 ms, for which a peer with Nagle's algorithm waits
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return count

    def send(self, bytestream: bytes) -> None:
        """Send all, or close: a peer that does not read must not hold a thread."""
        if self.socket is not None:
            self.socket.settimeout(self._pdu_timeout_s)
        super().send(bytestream)

    def message_done(self) -> None:
        """The message that was being received is dealt with; its bytes no longer count."""
        self._budget.give_back(self._held)
        self._held = 0

    def _shutdown_socket(self) -> None:
        """Close, whichever way the library takes there: not all of them pass through `close`."""
        self.message_done()
        super()._shutdown_socket()
        if self.socket is not None:
            # The library leaves a socket open that the peer shut down first
            self.socket.close()
