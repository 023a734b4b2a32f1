"""Search in the trail: by kind, actor, ECG and time; newest first, paged by sequence number."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, select

from core.states import EventKind
from records.audit import Verdict, verify_trail
from records.database import Database
from records.tables import TrailEvent
from records.trail import record_event

PAGE = 100
_EXPORT_PAGE = 2000


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; empty means everything."""

    kinds: Sequence[EventKind] = ()
    actor: str = ""
    ecg_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of the trail with its details read."""

    seq: int
    at: datetime
    kind: str
    actor: str
    ecg_id: int | None
    details: dict[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Found:
    """A page of events; `older` is the key with which the next page begins, None at the end."""

    entries: Sequence[Entry]
    older: int | None


def search_trail(database: Database, search: Search, before: int | None = None, limit: int = PAGE) -> Found:
    """The events that match, newest first."""
    query = _matching(search).order_by(TrailEvent.seq.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(TrailEvent.seq < before)
    with database.reading() as session:
        rows = session.scalars(query).all()
    return Found([_entry(row) for row in rows[:limit]], rows[limit - 1].seq if len(rows) > limit else None)


def export_trail(database: Database, search: Search) -> Iterator[Entry]:
    """Every event that matches, oldest first, read page by page."""
    after = 0
    while True:
        with database.reading() as session:
            query = _matching(search).where(TrailEvent.seq > after).order_by(TrailEvent.seq).limit(_EXPORT_PAGE)
            rows = session.scalars(query).all()
        if not rows:
            return
        yield from map(_entry, rows)
        after = rows[-1].seq


def _matching(search: Search) -> Select[TrailEvent]:
    query = select(TrailEvent)
    if search.kinds:
        query = query.where(TrailEvent.kind.in_([kind.value for kind in search.kinds]))
    if search.actor:
        query = query.where(TrailEvent.actor == search.actor)
    if search.ecg_id is not None:
        query = query.where(TrailEvent.ecg_id == search.ecg_id)
    if search.since is not None:
        query = query.where(TrailEvent.at >= _as_kept(search.since))
    if search.until is not None:
        query = query.where(TrailEvent.at < _as_kept(search.until))
    return query


def _as_kept(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _entry(row: TrailEvent) -> Entry:
    at, details = datetime.fromisoformat(row.at), json.loads(row.details)
    return Entry(row.seq, at, row.kind, row.actor, row.ecg_id, details, row.hash)


def list_actors(database: Database, limit: int = 200) -> list[str]:
    """Everyone who ever did something, found by skipping along the index."""
    actors: list[str] = []
    with database.reading() as session:
        while len(actors) < limit:
            query = select(func.min(TrailEvent.actor))
            if actors:
                query = query.where(TrailEvent.actor > actors[-1])
            actor = session.scalar(query)
            if actor is None:
                break
            actors.append(actor)
    return actors


def verify_and_record(database: Database, actor: str) -> Verdict:
    """Verify the whole trail and write down, in the trail, that it was done and how it ended."""
    verdict = verify_trail(database)
    record_verification(database, actor, verdict)
    return verdict


def record_verification(database: Database, actor: str, verdict: Verdict) -> None:
    """Write down, in the trail, that it was verified and how that ended."""
    record_event(
        database, EventKind.TRAIL_VERIFIED, actor=actor, entries=verdict.entries, fault=verdict.fault, seq=verdict.seq
    )


@dataclass(frozen=True, slots=True)
class Verification:
    """How the last verification of the trail ended; `fault` is None when it was whole."""

    at: datetime
    actor: str
    entries: int
    fault: str | None
    details: dict[str, Any] = field(default_factory=dict)


def find_last_verification(database: Database) -> Verification | None:
    """The last verification that was recorded; None when there was none yet."""
    found = search_trail(database, Search(kinds=[EventKind.TRAIL_VERIFIED]), limit=1).entries
    if not found:
        return None
    entry = found[0]
    return Verification(entry.at, entry.actor, int(entry.details["entries"]), entry.details.get("fault"), entry.details)
