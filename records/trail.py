"""The append-only history: who did what to which ECG, in a chain that shows every change.

Entry n carries HMAC-SHA-256(key, canonical JSON of the entry || hash of entry n-1). Sequence numbers have no gaps.
"""

import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from core.states import EventKind
from records.clock import database_time
from records.tables import TrailEvent, TrailHead, table_of

if TYPE_CHECKING:
    from records.database import Database

FIRST_HASH = "0" * 64
_PENDING = "pending_events"
# Built once: each writing transaction ends with these three
_HEAD, _EVENTS = table_of(TrailHead), table_of(TrailEvent)
_TAKE_NUMBERS = (
    update(_HEAD)
    .where(_HEAD.c.id == 1)
    .values(seq=_HEAD.c.seq + bindparam("taken"))
    .returning(_HEAD.c.seq, _HEAD.c.hash)
)
_APPEND = insert(_EVENTS)
_SET_HEAD = update(_HEAD).where(_HEAD.c.id == 1).values(hash=bindparam("last"))


@dataclass(frozen=True, slots=True)
class _Pending:
    kind: EventKind
    actor: str
    at: datetime
    ecg_id: int | None
    details: dict[str, Any]


def add_event(
    session: Session, kind: EventKind, *, actor: str, at: datetime, ecg_id: int | None = None, **details: Any
) -> None:
    """Note an event; it is written as the last act of the session's transaction."""
    session.info.setdefault(_PENDING, []).append(_Pending(kind, actor, at, ecg_id, details))


def record_event(
    database: "Database", kind: EventKind, *, actor: str, ecg_id: int | None = None, **details: Any
) -> None:
    """Write one event in a transaction of its own. Raises DatabaseAway."""
    with database.writing() as session:
        add_event(session, kind, actor=actor, at=database_time(session), ecg_id=ecg_id, **details)


def flush_events(session: Session, key: bytes) -> None:
    """Append the session's events; takes the head's lock, and nothing may be locked after it."""
    pending: list[_Pending] = session.info.pop(_PENDING, [])
    if not pending:
        return
    connection = session.connection()
    seq, before = connection.execute(_TAKE_NUMBERS, {"taken": len(pending)}).one()
    rows = []
    for number, entry in enumerate(pending, start=seq - len(pending) + 1):
        row = {
            "seq": number,
            "at": entry.at.isoformat(timespec="milliseconds"),
            "kind": entry.kind.value,
            "actor": entry.actor,
            "ecg_id": entry.ecg_id,
            "details": canonical(entry.details),
        }
        before = chain_hash(key, row, before)
        rows.append({**row, "hash": before})
    connection.execute(_APPEND, rows)
    connection.execute(_SET_HEAD, {"last": before})


def canonical(value: Any) -> str:
    """JSON with sorted keys, no white space and only ASCII: the same value always gives the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def chain_hash(key: bytes, row: dict[str, Any], before: str) -> str:
    """Hash of an entry (without its own hash) that follows the entry with hash `before`."""
    return hmac.new(key, f"{canonical(row)}{before}".encode(), sha256).hexdigest()


def find_head(session: Session) -> tuple[int, str]:
    """Sequence number and hash of the last entry."""
    seq, last = session.execute(select(TrailHead.seq, TrailHead.hash).where(TrailHead.id == 1)).one()
    return seq, last
