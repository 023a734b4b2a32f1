"""The trail can only grow, and every other change is named."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.states import EventKind
from records.audit import note_head, verify_trail
from records.clock import database_time
from records.database import Database
from records.trail import add_event, record_event


def _fill(database: Database, entries: int = 6) -> None:
    for n in range(entries):
        record_event(database, EventKind.LOGIN, actor=f"user{n}", number=n)


def _as_owner(database: Database, *statements: str) -> None:
    """What a person with the database's own password can do: switch the triggers off first."""
    with Session(database.engine) as session, session.begin():
        if database.engine.dialect.name == "postgresql":
            session.execute(text("ALTER TABLE trail DISABLE TRIGGER USER"))
        else:
            session.execute(text("DROP TRIGGER trail_no_update"))
            session.execute(text("DROP TRIGGER trail_no_delete"))
        for statement in statements:
            session.execute(text(statement))


def test_an_untouched_trail_is_good(database: Database) -> None:
    _fill(database)
    verdict = verify_trail(database)
    assert (verdict.entries, verdict.fault) == (6, None)


@pytest.mark.parametrize("statement", ["UPDATE trail SET actor = 'x' WHERE seq = 3", "DELETE FROM trail WHERE seq = 3"])
def test_the_database_refuses_to_change_the_trail(database: Database, statement: str) -> None:
    _fill(database)
    with pytest.raises(DBAPIError, match="append-only"), Session(database.engine) as session, session.begin():
        session.execute(text(statement))
    assert verify_trail(database).fault is None


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["UPDATE trail SET actor = 'somebody else' WHERE seq = 3"], 3),
        (["UPDATE trail SET details = '{}' WHERE seq = 4"], 4),
        (["DELETE FROM trail WHERE seq = 2"], 2),
        (
            [
                "UPDATE trail SET seq = -1 WHERE seq = 3",
                "UPDATE trail SET seq = 3 WHERE seq = 4",
                "UPDATE trail SET seq = 4 WHERE seq = -1",
            ],
            3,
        ),
        (["DELETE FROM trail WHERE seq > 4"], 5),
        (
            [
                "DELETE FROM trail WHERE seq > 4",
                "UPDATE trail_head SET seq = 4, hash = (SELECT hash FROM trail WHERE seq = 4)",
            ],
            5,
        ),
    ],
    ids=["changed actor", "changed details", "deleted", "reordered", "cut tail", "cut tail with the head set back"],
)
def test_verify_names_the_first_bad_entry(database: Database, statements: list[str], named: int) -> None:
    _fill(database)
    note_head(database)
    _as_owner(database, *statements)
    verdict = verify_trail(database)
    assert verdict.fault is not None
    assert verdict.seq == named


def test_eight_writers_at_once_leave_no_gap(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: record_event(database, EventKind.LOGIN, actor=f"w{n}", n=n), range(80)))
    verdict = verify_trail(database)
    assert (verdict.entries, verdict.fault) == (80, None)


def _fail_after_an_event(database: Database) -> None:
    with database.writing() as session:
        add_event(session, EventKind.LOGIN, actor="nobody", at=database_time(session))
        raise RuntimeError("on purpose")


def test_an_event_of_a_transaction_that_failed_is_not_in_the_trail(database: Database) -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        _fail_after_an_event(database)
    assert verify_trail(database).entries == 0
