"""The audit database: SQLite on one machine, PostgreSQL where there are several."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from core.errors import BadSettings, DatabaseAway
from core.files import make_folder
from core.settings import Settings
from records.keys import read_or_make_key
from records.trail import flush_events

# SQLSTATE classes that pass by themselves: connection lost, resources, operator, system, lock or serialisation
_PASSING = ("08", "53", "57", "58", "40", "55P03")
# The server's own limit comes first and leaves the connection usable
_SERVER_FIRST_S = 2.0
_INTERRUPTIBLE_S = 0.1


@dataclass(frozen=True, slots=True)
class Database:
    """An open database and the key of its trail."""

    engine: Engine
    trail_key: bytes
    data_dir: Path

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction; the trail's events are its last statements. Raises DatabaseAway, having changed nothing."""
        immediate = self.engine.execution_options(begin="IMMEDIATE")
        with Session(immediate, expire_on_commit=False) as session:
            with _translated():
                yield session
                session.flush()
                flush_events(session, self.trail_key)
            # Only a server that is reached over a network can have committed without our hearing of it
            with _translated(in_doubt=self.engine.dialect.name == "postgresql"):
                session.commit()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent look. Raises DatabaseAway."""
        engine = self.engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with _translated(), Session(engine, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        self.engine.dispose()


def database_address(settings: Settings) -> str:
    """SQLAlchemy's address of the configured database."""
    given = settings.database_url.get_secret_value()
    return given or f"sqlite:///{settings.data_dir.resolve() / 'ecg-node.sqlite3'}"


def open_database(settings: Settings) -> Database:
    """Connect lazily; the schema is `records.migrate`'s business."""
    make_folder(settings.data_dir)
    url = make_url(database_address(settings))
    if url.get_backend_name() == "sqlite":
        engine = _sqlite_engine(url.render_as_string(hide_password=False), settings)
    elif url.get_backend_name() == "postgresql":
        engine = _postgresql_engine(url.set(drivername="postgresql+psycopg"), settings)
    else:
        raise BadSettings(f"database_url: {url.get_backend_name()} is not supported; use sqlite or postgresql")
    return Database(engine, read_or_make_key(settings), settings.data_dir)


def _sqlite_engine(url: str, settings: Settings) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": settings.database_timeout_s})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours: a deferred read-then-write fails at once when locked
        # NORMAL is not durable in WAL mode: an acknowledged ECG could vanish with the power
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA busy_timeout={int(settings.database_timeout_s * 1000)}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")

    return engine


def _postgresql_engine(url: Any, settings: Settings) -> Engine:
    limit = int(settings.database_timeout_s * 1000)
    options = f"-c statement_timeout={limit} -c lock_timeout={limit} -c idle_in_transaction_session_timeout={3 * limit}"
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        pool_timeout=settings.database_timeout_s,
        connect_args={
            "options": f"{options} -c synchronous_commit=on -c timezone=UTC",
            "connect_timeout": max(2, int(settings.database_timeout_s)),
            # A machine that is gone answers nothing: the kernel must give up for us
            "tcp_user_timeout": limit,
            "keepalives_idle": 5,
        },
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: list[Any], named: dict[str, Any]) -> _BoundedConnection:
        connection = _BoundedConnection.connect(*arguments, **named)
        connection.limit_s = settings.database_timeout_s + _SERVER_FIRST_S
        return connection

    return engine


class _BoundedConnection(psycopg.Connection[Any]):
    """Gives up on a server that keeps its sockets open and says nothing, as a frozen one does: the kernel of its
    machine still acknowledges, so that neither its own limits nor TCP's end the wait."""

    limit_s: float | None = None

    def wait(self, gen: Any, interval: float = _INTERRUPTIBLE_S, timeout: float | None = None) -> Any:
        began = time.monotonic()
        try:
            return super().wait(gen, interval, self.limit_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.limit_s is not None and time.monotonic() - began >= self.limit_s:
                self.close()  # what it is doing is unknown: it must not go back into the pool
            raise


@contextmanager
def _translated(in_doubt: bool = False) -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseAway("no database connection became free in time; raise its limit or look for a lock") from error
    except DBAPIError as error:
        if not _passes(error):
            raise
        raise DatabaseAway(
            f"the database does not answer ({type(error.orig).__name__}); is it running?", in_doubt
        ) from error


def _passes(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state:
        return str(state).startswith(_PASSING)
    return isinstance(error, OperationalError)
