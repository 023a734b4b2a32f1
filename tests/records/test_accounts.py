"""Accounts and sessions of the console."""

from collections.abc import Callable

import pytest

from core.errors import Rejected
from core.roles import Role
from records.accounts import (
    Person,
    SessionLimits,
    add_account,
    change_password,
    disable_account,
    end_session,
    find_person,
    open_session,
)
from records.database import Database
from records.tables import ConsoleSession

LIMITS = SessionLimits(idle_s=600.0, most_s=3600.0)


@pytest.fixture
def anna(database: Database) -> Database:
    add_account(database, "anna", Role.VIEWER, "hash", "test")
    open_session(database, "anna", "token", LIMITS, "127.0.0.1")
    return database


def test_a_token_leads_to_its_person_and_no_other_one_does(anna: Database) -> None:
    assert find_person(anna, "token", LIMITS) == Person("anna", Role.VIEWER)
    assert find_person(anna, "Token", LIMITS) is None
    assert find_person(anna, "", LIMITS) is None


def test_the_database_never_holds_a_token(anna: Database) -> None:
    with anna.reading() as session:
        assert "token" not in {row.token_sha256 for row in session.query(ConsoleSession)}


ENDS: dict[str, Callable[[Database], None]] = {
    "log out": lambda database: end_session(database, "token"),
    "new password": lambda database: change_password(database, "anna", "other", "test"),
    "disabled": lambda database: disable_account(database, "anna", "test"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_login_ends_at_once(anna: Database, how: str) -> None:
    assert find_person(anna, "token", LIMITS)
    ENDS[how](anna)
    assert find_person(anna, "token", LIMITS) is None
    disable_account(anna, "anna", "test", disabled=False)
    assert find_person(anna, "token", LIMITS) is None


def test_a_name_is_given_once(anna: Database) -> None:
    with pytest.raises(Rejected, match="already"):
        add_account(anna, "anna", Role.ADMINISTRATOR, "hash", "test")


def test_an_account_that_there_is_not_is_named(database: Database) -> None:
    with pytest.raises(Rejected, match="no account boris"):
        change_password(database, "boris", "hash", "test")
