"""The process that serves the console."""

import signal
import socket
import warnings
from types import FrameType

import pydicom
import structlog
import uvicorn

from console.app import build_app
from core.errors import BadSettings, Unavailable
from core.rounds import Rounds
from core.settings import Settings
from records.audit_search import find_last_verification, verify_and_record
from records.clock import database_time
from records.database import Database, open_database
from records.migrate import need_current_schema
from records.processes import ALIVE_EVERY_S, SignsOfLife, process_id, record_started, record_stopped

_KIND = "console"
_LOOK_EVERY_S = 60.0
_CONNECTIONS = 200
_BACKLOG = 128
_END_S = 10
_log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises BadSettings, and Unavailable when the port is taken."""
    # pydicom warns with the value that it does not like, which may be a patient's name
    warnings.simplefilter("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    database = open_database(settings)
    need_current_schema(database)
    bound = _bind(settings)
    rounds = [
        Rounds("console-alive", SignsOfLife(_KIND, database), ALIVE_EVERY_S),
        Rounds(
            "console-verify", lambda: _verify_when_due(settings, database), min(_LOOK_EVERY_S, settings.verify_trail_s)
        ),
    ]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        for one in rounds:
            one.start()
        record_started(database, _KIND, console_address(settings, bound.getsockname()[1]))
        _log.info("ready", process=_KIND, address=console_address(settings, bound.getsockname()[1]))
        uvicorn.Server(_config(settings, database)).run(sockets=[bound])
    finally:
        for one in rounds:
            one.stop()
        record_stopped(database, _KIND)
        database.close()


def _end(_number: int, _frame: FrameType | None) -> None:
    """End in good order before the server has handlers of its own, and when it raises the signal again at its end."""
    raise SystemExit(0)


def console_address(settings: Settings, port: int) -> str:
    """What to type into a browser on this machine."""
    scheme = "https" if settings.console_tls_certificate else "http"
    host = f"[{settings.console_host}]" if ":" in settings.console_host else settings.console_host
    return f"{scheme}://{host}:{port}"


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.console_host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.console_host, settings.console_port))
        bound.listen(_BACKLOG)  # from now on a browser waits instead of being refused
    except OSError as error:
        bound.close()
        where = f"{settings.console_host}:{settings.console_port}"
        raise Unavailable(f"the console cannot bind {where}: {error.strerror}; set console_port") from error
    return bound


def _config(settings: Settings, database: Database) -> uvicorn.Config:
    for path in (settings.console_tls_certificate, settings.console_tls_key):
        if path is not None and not path.is_file():
            raise BadSettings(f"console_tls_certificate, console_tls_key: {path} cannot be read")
    return uvicorn.Config(
        build_app(settings, database),
        log_config=None,
        access_log=False,  # the trail says who looked at what; addresses of pages have no place in a log
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_END_S,
        proxy_headers=bool(settings.console_trusted_proxies),
        forwarded_allow_ips=list(settings.console_trusted_proxies),
        ssl_certfile=settings.console_tls_certificate,
        ssl_keyfile=str(settings.console_tls_key) if settings.console_tls_key else None,
    )


def _verify_when_due(settings: Settings, database: Database) -> int:
    """Verify the whole trail once a period, whichever console of the site comes first."""
    last = find_last_verification(database)
    with database.reading() as session:
        now = database_time(session)
    if last is None or (now - last.at).total_seconds() >= settings.verify_trail_s:
        verdict = verify_and_record(database, process_id(_KIND))
        if verdict.fault is not None:
            _log.error("trail_broken", entries=verdict.entries, fault=verdict.fault)
    return 0
