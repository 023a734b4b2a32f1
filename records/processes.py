"""Which processes of the node are alive, on whichever machine."""

import os
import socket
import time
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, select

from core.errors import DatabaseAway
from core.states import EventKind
from records.audit import note_head
from records.clock import database_time
from records.database import Database
from records.tables import Process
from records.trail import add_event

# Rows of processes that died without saying so are removed after a day; until then `status` shows them as silent
_FORGET_AFTER = timedelta(days=1)
_NOTE_EVERY_S = 60.0
ALIVE_EVERY_S = 5.0
_log = structlog.get_logger(__name__)


def process_id(kind: str) -> str:
    """Name of this process, unique over machines and restarts: it owns leases."""
    return f"{kind}@{socket.gethostname()}:{os.getpid()}"


def record_started(database: Database, kind: str, address: str = "") -> None:
    """This process is ready for work."""
    with database.writing() as session:
        now = database_time(session)
        session.execute(delete(Process).where(Process.seen_at < now - _FORGET_AFTER))
        session.merge(
            Process(
                id=process_id(kind),
                kind=kind,
                host=socket.gethostname(),
                pid=os.getpid(),
                address=address,
                started_at=now,
                seen_at=now,
            )
        )
        add_event(session, EventKind.NODE_STARTED, actor=process_id(kind), at=now, process=kind)


def record_seen(database: Database, kind: str) -> None:
    """This process is still alive."""
    with database.writing() as session:
        row = session.get(Process, process_id(kind))
        if row is not None:
            row.seen_at = database_time(session)


def record_stopped(database: Database, kind: str) -> None:
    """This process ends in good order."""
    with database.writing() as session:
        session.execute(delete(Process).where(Process.id == process_id(kind)))
        add_event(session, EventKind.NODE_STOPPED, actor=process_id(kind), at=database_time(session), process=kind)


def list_processes(database: Database) -> list[tuple[Process, float]]:
    """Known processes, each with the seconds since it was last seen."""
    with database.reading() as session:
        now: datetime = database_time(session)
        rows = session.scalars(select(Process).order_by(Process.kind, Process.id)).all()
        return [(row, (now - row.seen_at).total_seconds()) for row in rows]


class SignsOfLife:
    """Says every few seconds that this process is alive, and every minute where the trail ends."""

    def __init__(self, kind: str, database: Database) -> None:
        self._kind = kind
        self._database = database
        self._noted = 0.0

    def __call__(self) -> int:
        try:
            record_seen(self._database, self._kind)
            if time.monotonic() - self._noted > _NOTE_EVERY_S:
                seq, last = note_head(self._database)
                _log.info("trail_head", seq=seq, hash=last)
                self._noted = time.monotonic()
        except DatabaseAway as error:
            _log.warning("database_away", process=self._kind, why=str(error))
        return 0
