"""The listener: a Storage and Verification SCP that keeps what it acknowledges."""

import resource
import signal
import threading
from types import FrameType

import structlog
from pynetdicom import AE, _config

from core.rounds import Rounds
from core.settings import Settings
from core.wakeup import Wakeup
from dicom_node.contexts import accepted_contexts
from dicom_node.handlers import Handlers
from dicom_node.intake import Intake
from dicom_node.server import BoundedServer
from dicom_node.sweep import SETTLED_S, Sweep
from records.database import Database, open_database
from records.migrate import need_current_schema
from records.processes import ALIVE_EVERY_S, SignsOfLife, record_started, record_stopped

_log = structlog.get_logger(__name__)
_SWEEP_EVERY_S = SETTLED_S / 4
_POLL_S = 0.1


class Listener:
    """An SCP in threads of its own."""

    def __init__(self, settings: Settings, database: Database, wakeup: Wakeup) -> None:
        # The library's own log handlers format every PDU, and would write patient data into a log
        _config.LOG_HANDLER_LEVEL = "none"
        self._settings = settings
        self._handlers = Handlers(settings, database, Intake(settings, database, wakeup))
        self._server: BoundedServer | None = None

    def start(self) -> int:
        """Bind and serve; the port. Raises OSError when the address is taken."""
        settings = self._settings
        ae = AE(settings.ae_title)
        ae.maximum_pdu_size = settings.max_pdu_bytes
        ae.acse_timeout = settings.association_timeout_s
        ae.dimse_timeout = settings.idle_timeout_s
        ae.network_timeout = settings.idle_timeout_s
        # Ours counts associations in all and by address; the library would count idle connections, too
        ae.maximum_associations = settings.max_associations * 10
        self._server = ae.make_server(
            (settings.listen_host, settings.listen_port),
            contexts=accepted_contexts(settings),
            evt_handlers=self._handlers.bindings(),
            server_class=BoundedServer,
            settings=settings,
        )
        ae._servers.append(self._server)
        threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="accept", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self, deadline_s: float = 20.0) -> None:
        """Accept no more, let associations that are open finish, then end them."""
        if self._server is None:
            return
        open_now = self._server.active_associations
        self._server.shutdown()
        for assoc in open_now:
            assoc.join(deadline_s / max(1, len(open_now)))
        for assoc in self._server.active_associations:
            assoc.abort()
        self._server = None


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
    port = listener.start()
    helpers = [
        Rounds("listen-alive", SignsOfLife("listen", database), ALIVE_EVERY_S),
        Rounds("sweep", Sweep(settings.data_dir, database), _SWEEP_EVERY_S),
    ]
    record_started(database, "listen", f"{settings.listen_host}:{port}")
    for one in helpers:
        one.start()
    _log.info("ready", process="listen", port=port, ae_titles=settings.ae_titles)
    stop.wait()
    listener.stop()
    for one in helpers:
        one.stop()
    record_stopped(database, "listen")
    wakeup.close()
    database.close()


def _raise_descriptor_limit() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
