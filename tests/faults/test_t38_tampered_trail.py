"""T38: whoever changes the trail is told of by name of the entry, even with the database's own password; a role of less
right cannot change it at all.

Seen to fail with a hash that leaves out one field of the entry, and with UPDATE granted to the role.
"""

import random
import re
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.settings import Settings
from core.states import EventKind
from records.audit import note_head, verify_trail
from records.database import Database, open_database
from records.migrate import migrate
from records.tables import TrailEvent
from records.trail import record_event
from tests.cli_runs import run_cli
from tests.conftest import ROOT
from tests.servers import PostgreSql
from tests.tally import Report

ENTRIES = 60
ROLES = ROOT / "docs" / "operations" / "postgresql-roles.sql"


def _fill(database: Database, count: int = ENTRIES) -> None:
    for number in range(count):
        record_event(database, EventKind.LOGIN, actor=f"user{number}", ecg_id=number + 1, number=number)


def _as_owner(database: Database, statement: str, **values: object) -> None:
    """Past the triggers, as somebody with the owner's password could."""
    with Session(database.engine) as session, session.begin():
        if database.engine.dialect.name == "postgresql":
            session.execute(text("ALTER TABLE trail DISABLE TRIGGER USER"))
        else:
            for name in session.scalars(
                text("SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='trail'")
            ):
                session.execute(text(f"DROP TRIGGER {name}"))
        session.execute(text(statement), values)


def test_each_field_of_any_entry_is_held_by_the_chain(database: Database, seed: int, tally: Report) -> None:
    _fill(database)
    chance = random.Random(seed)
    fields = {
        "at": "2001-01-01T00:00:00.000+00:00",
        "kind": "logout",
        "actor": "nobody",
        "ecg_id": 999,
        "details": "{}",
    }
    for field, other in fields.items():
        seq = chance.randrange(1, ENTRIES + 1)
        with database.reading() as session:
            row = session.scalars(select(TrailEvent).where(TrailEvent.seq == seq)).one()
            before = getattr(row, field)
        _as_owner(database, f"UPDATE trail SET {field} = :other WHERE seq = :seq", other=other, seq=seq)
        verdict = verify_trail(database)
        assert verdict.seq == seq, field
        assert str(seq) in (verdict.fault or "")
        _as_owner(database, f"UPDATE trail SET {field} = :before WHERE seq = :seq", before=before, seq=seq)
        assert verify_trail(database).fault is None
        tally("T38", cases=1)


def test_a_tail_that_is_cut_with_its_head_is_named_by_the_note_outside(database: Database, tally: Report) -> None:
    _fill(database)
    note_head(database)
    with database.reading() as session:
        last = session.scalars(select(TrailEvent).where(TrailEvent.seq == ENTRIES - 5)).one()
    _as_owner(database, "DELETE FROM trail WHERE seq > :seq", seq=last.seq)
    _as_owner(database, "UPDATE trail_head SET seq = :seq, hash = :hash", seq=last.seq, hash=last.hash)
    assert verify_trail(database).seq == last.seq + 1
    tally("T38", cases=1)


def test_the_command_names_the_entry_and_ends_with_one(settings: Settings, tally: Report) -> None:
    database = open_database(settings)
    migrate(database)
    _fill(database)
    good = run_cli(["audit", "verify"], data_dir=settings.data_dir)
    _as_owner(database, "UPDATE trail SET actor = 'nobody' WHERE seq = 17")
    database.close()
    bad = run_cli(["audit", "verify"], data_dir=settings.data_dir)
    assert (good.returncode, bad.returncode) == (0, 1)
    assert "good" in good.stdout
    assert "entry 17" in bad.stdout
    tally("T38", cases=2)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trail SET actor = 'x' WHERE seq = 1",
        "DELETE FROM trail",
        "TRUNCATE trail",
        "ALTER TABLE trail DISABLE TRIGGER USER",
        "DROP TABLE trail",
        "DELETE FROM trail_head",
        "DROP TRIGGER trail_no_change ON trail",
        "CREATE TABLE more (x int)",
    ],
)
def test_the_role_of_the_node_works_and_cannot_rewrite(
    statement: str, role: tuple[Database, str], tally: Report
) -> None:
    database, address = role
    record_event(database, EventKind.LOGIN, actor="anna")
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with refused, psycopg.connect(address.replace("postgresql+psycopg", "postgresql"), autocommit=True) as connection:
        connection.execute(statement)
    assert verify_trail(database).fault is None
    tally("T38", cases=1)


@pytest.fixture
def role(postgresql: PostgreSql, tmp_path: Path) -> tuple[Database, str]:
    """A database as the page on PostgreSQL's roles sets it up, opened by the role of the node."""
    owner_url = postgresql.make_database()
    owner = open_database(Settings(data_dir=tmp_path, database_url=owner_url, demo=True))
    migrate(owner)
    owner.close()
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(re.sub(r"^\\.*$", "", ROLES.read_text(encoding="utf-8"), flags=re.MULTILINE))
    url = owner_url.replace("postgres@", "ecg_node@")
    return open_database(Settings(data_dir=tmp_path, database_url=url, demo=True)), url
