"""The listener: a Storage and Verification SCP that keeps what it acknowledges."""

import resource
import signal
import ssl
import threading
from dataclasses import dataclass
from types import FrameType

import structlog
from pynetdicom import AE, _config

from core.rounds import Rounds
from core.settings import Settings
from core.wakeup import Wakeup
from dicom_node.admission import Budget
from dicom_node.contexts import accepted_contexts
from dicom_node.handlers import Handlers
from dicom_node.intake import Intake
from dicom_node.server import BoundedServer
from dicom_node.sweep import SETTLED_S, Sweep
from dicom_node.tls import server_context
from records.database import Database, open_database
from records.migrate import need_current_schema
from records.processes import ALIVE_EVERY_S, SignsOfLife, record_started, record_stopped

_log = structlog.get_logger(__name__)
_SWEEP_EVERY_S = SETTLED_S / 4
_POLL_S = 0.1
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a listener listens; a port is None where it does not."""

    host: str
    plain_port: int | None
    tls_port: int | None

    def __str__(self) -> str:
        plain = [f"{self.host}:{self.plain_port}"] if self.plain_port is not None else []
        return ", ".join(plain + ([f"tls {self.host}:{self.tls_port}"] if self.tls_port is not None else []))


class Listener:
    """An SCP in threads of its own."""

    def __init__(self, settings: Settings, database: Database, wakeup: Wakeup) -> None:
        # The library's own log handlers format every PDU, and would write patient data into a log
        _config.LOG_HANDLER_LEVEL = "none"
        self._settings = settings
        self._handlers = Handlers(settings, database, Intake(settings, database, wakeup))
        self._budget = Budget(settings.max_bytes_in_flight)
        self._servers: list[BoundedServer] = []
        self.bound = Bound(settings.listen_host, None, None)

    def start(self) -> int:
        """Bind and serve, plain or over TLS or both; the port, the plain one first.

        Raises OSError when an address is taken, BadSettings for a certificate that cannot be used.
        """
        settings = self._settings
        tls = server_context(settings) if settings.tls_certificate_file is not None else None
        plain_port = self._serve(settings.listen_port, None) if settings.serves_plain else None
        tls_port = self._serve(settings.tls_port, tls) if tls is not None else None
        self.bound = Bound(settings.listen_host, plain_port, tls_port)
        port = plain_port if plain_port is not None else tls_port
        assert port is not None
        return port

    def _serve(self, port: int, tls: ssl.SSLContext | None) -> int:
        settings = self._settings
        ae = AE(settings.ae_title)
        ae.maximum_pdu_size = settings.max_pdu_bytes
        ae.acse_timeout = settings.association_timeout_s
        ae.dimse_timeout = settings.idle_timeout_s
        ae.network_timeout = settings.idle_timeout_s
        # Ours counts associations in all and by address; the library would count idle connections, too
        ae.maximum_associations = settings.max_associations * 10
        server = ae.make_server(
            (settings.listen_host, port),
            contexts=accepted_contexts(settings),
            evt_handlers=self._handlers.bindings(),
            ssl_context=tls,
            server_class=BoundedServer,
            settings=settings,
            budget=self._budget,
        )
        ae._servers.append(server)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(_POLL_S,), name="accept", daemon=True).start()
        return int(server.server_address[1])

    def stop(self, deadline_s: float = 20.0) -> None:
        """Accept no more, let associations that are open finish, then end them."""
        open_now = [assoc for server in self._servers for assoc in server.active_associations]
        for server in self._servers:
            server.shutdown()
        for assoc in open_now:
            assoc.join(deadline_s / max(1, len(open_now)))
        for assoc in open_now:
            if assoc.is_alive():
                assoc.abort()
        self._servers.clear()


def run(settings: Settings) -> None:
    """Listen until SIGTERM or SIGINT."""
    _raise_descriptor_limit()
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    database = open_database(settings)
    need_current_schema(database)
    wakeup = Wakeup(settings)
    listener = Listener(settings, database, wakeup)
    listener.start()
    helpers = [
        Rounds("listen-alive", SignsOfLife("listen", database), ALIVE_EVERY_S),
        Rounds("sweep", Sweep(settings.data_dir, database), _SWEEP_EVERY_S),
    ]
    record_started(database, "listen", str(listener.bound))
    for one in helpers:
        one.start()
    _log.info("ready", process="listen", address=str(listener.bound), ae_titles=settings.ae_titles)
    while not stop.wait(_LOOK_S):
        # A wait without an end may sleep through a signal while many threads are busy; one with an end sees it
        pass
    listener.stop()
    for one in helpers:
        one.stop()
    record_stopped(database, "listen")
    wakeup.close()
    database.close()


def _raise_descriptor_limit() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
