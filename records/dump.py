"""The whole database as lines of JSON, taken in one consistent look while the node runs; either database loads it."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, MetaData, Table, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from core.errors import Rejected
from records.database import Database
from records.migrate import find_revision, is_known, is_on_the_way, migrate
from records.retention import RESULT_COLUMNS
from records.tables import Instance, TrailEvent, TrailHead

# Who was alive and who was logged in is not true of a restored node
_LEFT_OUT = {"alembic_version", "process", "console_session"}
_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the dumped rows name: a received one with its path, or a result (path is empty)."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Dump:
    """What was written: schema, rows a table, where the trail ended, and the files that these rows need."""

    revision: str
    rows: dict[str, int]
    trail_seq: int
    trail_hash: str
    files: tuple[NamedFile, ...]


def dump_database(database: Database, write: Callable[[bytes], object]) -> Dump:
    """Write every table, each as a line with its name and columns, then a line a row. Raises DatabaseAway."""
    with database.reading() as session:
        connection = session.connection()
        revision = find_revision(connection)
        if revision is None:
            raise Rejected("the database is empty; there is nothing to back up")
        rows = {table.name: _dump_table(connection, table, write) for table in _tables(connection)}
        seq, last = session.execute(select(TrailHead.seq, TrailHead.hash)).one()
        there = Instance.file_deleted_at.is_(None)
        files = {NamedFile(*row) for row in session.execute(select(Instance.path, Instance.file_sha256).where(there))}
        for column in RESULT_COLUMNS:
            query = select(column).join(Instance, Instance.id == column.class_.ecg_id)
            names = session.scalars(query.where(column.is_not(None), there))
            files.update(NamedFile("", str(name)) for name in names)
    return Dump(revision, rows, seq, last, tuple(sorted(files, key=lambda one: (one.path, one.sha256))))


def _tables(connection: Connection) -> list[Table]:
    known = MetaData()
    known.reflect(connection)
    return [table for table in known.sorted_tables if table.name not in _LEFT_OUT]


def _dump_table(connection: Connection, table: Table, write: Callable[[bytes], object]) -> int:
    write(_line({"table": table.name, "columns": [column.name for column in table.columns]}))
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_TOGETHER)
    number = 0
    for row in connection.execute(query):
        write(_line([_plain(value) for value in row]))
        number += 1
    return number


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    return value


def need_empty(database: Database, revision: str) -> None:
    """Raise Rejected unless the database has no rows, and a schema at most that can still become `revision`."""
    with database.engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        found = find_revision(connection)
        used = found is not None and not is_on_the_way(found, revision)
        if TrailHead.__tablename__ in tables:
            used = used or bool(connection.scalar(select(TrailHead.seq)) or connection.scalar(select(Instance.id)))
    if used or (tables and found is None and tables != {"alembic_version"}):
        raise Rejected("the database is not empty: restore only into a new one; nothing was changed")


def ends_with(database: Database, seq: int, last: str) -> bool:
    """Whether the database holds the trail up to this entry: an earlier restore of the same backup got so far."""
    with database.engine.connect() as connection:
        if not inspect(connection).has_table(TrailEvent.__tablename__):
            return False
        return connection.scalar(select(TrailEvent.hash).where(TrailEvent.seq == seq)) == last


def load_database(database: Database, revision: str, lines: Iterable[bytes]) -> None:
    """Fill an empty database in one transaction, then bring it to this version's schema. Raises Rejected.

    The rows are loaded into the schema that they were dumped from, so that an older backup is migrated as it was.
    """
    if not is_known(revision):
        raise Rejected(
            f"the backup has schema {revision}, which this version does not know: restore with the newer one"
        )
    migrate(database, revision)
    engine = database.engine.execution_options(begin="IMMEDIATE")
    try:
        with engine.begin() as connection:
            _load(connection, lines)
    except IntegrityError as error:
        raise Rejected("the backup does not fit its own schema; it was not made by `ecg-node backup`") from error
    migrate(database)


def _load(connection: Connection, lines: Iterable[bytes]) -> None:
    tables = {table.name: table for table in _tables(connection)}
    # Rows of the migrations' own give way to the dumped ones; the trail has none, and lets nothing be deleted
    for table in reversed(tables.values()):
        if table.name != TrailEvent.__tablename__:
            connection.execute(table.delete())
    current: Table | None = None
    columns: list[str] = []
    waiting: list[dict[str, Any]] = []
    for line in lines:
        value = json.loads(line)
        if isinstance(value, dict):
            _insert(connection, current, waiting)
            current, columns = tables[value["table"]], value["columns"]
            continue
        assert current is not None
        waiting.append(
            {name: _stored(connection, current, name, one) for name, one in zip(columns, value, strict=True)}
        )
        if len(waiting) == _TOGETHER:
            _insert(connection, current, waiting)
    _insert(connection, current, waiting)
    if connection.dialect.name == "postgresql":
        _continue_numbers(connection, tables.values())


def _insert(connection: Connection, table: Table | None, waiting: list[dict[str, Any]]) -> None:
    if table is not None and waiting:
        connection.execute(insert(table), waiting)
    waiting.clear()


def _stored(connection: Connection, table: Table, name: str, value: Any) -> Any:
    if value is None or not isinstance(table.columns[name].type, DateTime):
        return value
    when = datetime.fromisoformat(value)
    return when.replace(tzinfo=None) if connection.dialect.name == "sqlite" else when


def _continue_numbers(connection: Connection, tables: Iterable[Table]) -> None:
    for table in tables:
        for column in table.primary_key.columns:
            owner = {"table": table.name, "column": column.name}
            sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), owner)
            most = connection.scalar(select(func.max(column))) if sequence else None
            if most:
                connection.execute(text("SELECT setval(:sequence, :most)"), {"sequence": sequence, "most": most})
