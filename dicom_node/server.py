"""The association server: pynetdicom's, with a deadline and a cap on all that a peer can make it wait for or hold.

Left to itself the library waits for ever for the rest of a PDU, believes any length, does the TLS handshake in the
thread that accepts, and stops serving past file descriptor 1023.
"""

import contextlib
import socket
import struct
import threading
from typing import Any

import structlog
from pynetdicom import AE, transport
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from core.settings import Settings
from dicom_node.admission import Budget
from dicom_node.bounded_socket import LARGEST_OTHER_PDU, BoundedSocket
from dicom_node.guarded_machine import guard
from dicom_node.lobby import Lobby
from dicom_node.statuses import LOCAL_LIMIT_EXCEEDED

_log = structlog.get_logger(__name__)
_SPARE_THREADS = 16  # above the limit of associations, so that the ones too many are told so

_A_ASSOCIATE_RJ = 0x03  # PS3.8 9.3.4
_REJECTION = struct.pack(">BxLx3B", _A_ASSOCIATE_RJ, 4, *LOCAL_LIMIT_EXCEEDED)


class SharedContexts(list[PresentationContext]):
    """Presentation contexts that all associations read and none changes, so that they need no copy each."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> "SharedContexts":
        return self


class BoundedHandler(transport.RequestHandler):
    """Makes associations with bounded sockets."""

    server: "BoundedServer"

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        # The library's own socket announced the connection (Evt5); ours announces it again
        assoc.dul.event_queue.get_nowait()
        assoc.dul.socket = BoundedSocket(assoc, self.server.settings, self.server.budget, self.request)
        guard(assoc)
        return assoc


class BoundedServer(transport.ThreadedAssociationServer):
    """A server that accepts at once, lets connections wait in a lobby, and never blocks on one of them."""

    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def __init__(self, ae: AE, *arguments: Any, settings: Settings, budget: Budget | None = None, **named: Any) -> None:
        self.settings = settings
        self.budget = budget or Budget(settings.max_bytes_in_flight)
        super().__init__(ae, *arguments, request_handler=BoundedHandler, **named)
        self.contexts = SharedContexts(self.contexts)
        over_tls, most = self.ssl_context is not None, settings.max_waiting_connections
        self._lobby = Lobby(self._enter, over_tls, settings.association_timeout_s, most)
        self._lobby.start()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept; the TLS handshake is done later, in the connection's own thread."""
        assert self.socket is not None
        connection, address = self.socket.accept()
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        self._lobby.admit(request, client_address)

    def service_actions(self) -> None:
        """The library collects garbage by hand every minute, and all associations wait; Python does it by itself."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is the peer's business; the library prints a traceback here."""

    def _enter(self, connection: socket.socket, address: tuple[str, int]) -> None:
        busy = len(self.active_associations)
        if busy >= self.settings.max_associations + _SPARE_THREADS:
            self._turn_away(connection)
            return
        thread = threading.Thread(
            target=self.process_request_thread, args=(connection, address), name="entering", daemon=True
        )
        thread.start()

    def _turn_away(self, connection: socket.socket) -> None:
        """Reject an association without a thread: a peer that is cut off does not know that it may come again."""
        with connection, contextlib.suppress(OSError):
            if self.ssl_context is not None:
                return
            connection.setblocking(False)
            # What is left unread would make the kernel reset the connection before the peer has read its rejection
            with contextlib.suppress(BlockingIOError):
                while connection.recv(LARGEST_OTHER_PDU):
                    pass
            connection.sendall(_REJECTION)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.ssl_context is not None:
            request = self._shake_hands(request, client_address)
        super().finish_request(request, client_address)

    def _shake_hands(self, request: socket.socket, address: tuple[str, int]) -> socket.socket:
        request.settimeout(self.settings.association_timeout_s)
        assert self.ssl_context is not None
        try:
            return self.ssl_context.wrap_socket(request, server_side=True)
        except OSError as error:
            why = getattr(error, "reason", None) or type(error).__name__
            _log.warning("tls_refused", peer_address=address[0], why=why)
            raise

    def shutdown(self) -> None:
        self._lobby.stop()
        with contextlib.suppress(ValueError):
            super().shutdown()
