"""Local accounts of the console and their sessions; passwords come as hashes, session tokens as their sha256."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.errors import Rejected
from core.roles import Role
from core.states import EventKind
from records.clock import database_time
from records.database import Database
from records.tables import Account, ConsoleSession
from records.trail import add_event


@dataclass(frozen=True, slots=True)
class Person:
    """Who is logged in."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """A session ends after this long without a request, and after this long anyway."""

    idle_s: float
    most_s: float


def add_account(database: Database, name: str, role: Role, password_hash: str, actor: str) -> None:
    """Add an account. Raises Rejected when the name is taken."""
    with database.writing() as session:
        if session.get(Account, name) is not None:
            raise Rejected(f"there is an account {name} already; change its password or choose another name")
        now = database_time(session)
        account = Account(name=name, role=role.value, password_hash=password_hash, disabled=False)
        account.created_at = account.password_changed_at = now
        session.add(account)
        add_event(session, EventKind.ACCOUNT_ADDED, actor=actor, at=now, account=name, role=role.value)


def change_password(database: Database, name: str, password_hash: str, actor: str) -> None:
    """Set a new password and end every session of the account. Raises Rejected when there is none."""
    with database.writing() as session:
        now = database_time(session)
        account = _need(session, name)
        account.password_hash, account.password_changed_at = password_hash, now
        session.execute(delete(ConsoleSession).where(ConsoleSession.account == name))
        add_event(session, EventKind.PASSWORD_CHANGED, actor=actor, at=now, account=name)


def disable_account(database: Database, name: str, actor: str, disabled: bool = True) -> None:
    """Disable an account, which ends its sessions, or enable it again. Raises Rejected when there is none."""
    with database.writing() as session:
        now = database_time(session)
        _need(session, name).disabled = disabled
        if disabled:
            session.execute(delete(ConsoleSession).where(ConsoleSession.account == name))
        kind = EventKind.ACCOUNT_DISABLED if disabled else EventKind.ACCOUNT_ENABLED
        add_event(session, kind, actor=actor, at=now, account=name)


def _need(session: Session, name: str) -> Account:
    account = session.get(Account, name)
    if account is None:
        raise Rejected(f"there is no account {name}; `ecg-node users ls` lists them")
    return account


def list_accounts(database: Database) -> list[Account]:
    """Every account, by name."""
    with database.reading() as session:
        return list(session.scalars(select(Account).order_by(Account.name)))


def find_account(database: Database, name: str) -> Account | None:
    """An account by its name, disabled or not."""
    with database.reading() as session:
        return session.get(Account, name)


def rehash_password(database: Database, name: str, password_hash: str) -> None:
    """Keep the same password under newer hash parameters."""
    with database.writing() as session:
        _need(session, name).password_hash = password_hash


def open_session(database: Database, name: str, token: str, limits: SessionLimits, peer_address: str) -> None:
    """Record a login; sessions that ran out are forgotten."""
    with database.writing() as session:
        now = database_time(session)
        session.execute(delete(ConsoleSession).where(ConsoleSession.expires_at < now))
        row = ConsoleSession(token_sha256=_digest(token), account=name, opened_at=now, seen_at=now)
        row.expires_at = now + timedelta(seconds=min(limits.idle_s, limits.most_s))
        session.add(row)
        add_event(session, EventKind.LOGIN, actor=name, at=now, peer_address=peer_address)


def find_person(database: Database, token: str, limits: SessionLimits, stay: bool = True) -> Person | None:
    """Who holds this session; None when it ran out, was ended, or the account is disabled.

    `stay` puts the end off, as a person's own request does and a page that refreshes itself does not.
    """
    with database.reading() as session:
        now = database_time(session)
        found = session.execute(
            select(ConsoleSession, Account)
            .join(Account, Account.name == ConsoleSession.account)
            .where(ConsoleSession.token_sha256 == _digest(token), Account.disabled.is_(False))
        ).first()
        if found is None or found.ConsoleSession.expires_at < now:
            return None
        row, person = found.ConsoleSession, Person(found.Account.name, Role(found.Account.role))
    if stay and (now - row.seen_at).total_seconds() > limits.idle_s / 20:
        _put_off(database, row.token_sha256, limits)
    return person


def _put_off(database: Database, digest: str, limits: SessionLimits) -> None:
    with database.writing() as session:
        now = database_time(session)
        row = session.get(ConsoleSession, digest)
        if row is not None:
            row.seen_at = now
            row.expires_at = _end(row.opened_at, now, limits)


def _end(opened_at: datetime, now: datetime, limits: SessionLimits) -> datetime:
    return min(now + timedelta(seconds=limits.idle_s), opened_at + timedelta(seconds=limits.most_s))


def end_session(database: Database, token: str) -> None:
    """Log out."""
    with database.writing() as session:
        row = session.get(ConsoleSession, _digest(token))
        if row is not None:
            session.delete(row)
            add_event(session, EventKind.LOGOUT, actor=row.account, at=database_time(session))


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
