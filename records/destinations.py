"""Destinations as people see and steer them: how each fares, and whether anything is sent to it now."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.states import DeliveryState, EventKind
from records.clock import database_time
from records.database import Database
from records.tables import Delivery, DestinationState
from records.trail import add_event


@dataclass(frozen=True, slots=True)
class DestinationSummary:
    """One destination; `counts` has the number of deliveries in each state, `retry_at` when it is tried again."""

    name: str
    paused: bool
    failures: int
    retry_at: datetime | None
    last_error: str | None
    sr_class: str
    counts: dict[str, int]


def list_destinations(database: Database, configured: Iterable[str] = ()) -> list[DestinationSummary]:
    """Every destination that is configured or has deliveries, by name."""
    with database.reading() as session:
        now = database_time(session)
        known = {row.name: row for row in session.scalars(select(DestinationState))}
        counts = _count_by_destination(session)
    return [
        _summary(name, known.get(name), counts.get(name, {}), now) for name in sorted({*configured, *known, *counts})
    ]


def _count_by_destination(session: Session) -> dict[str, dict[str, int]]:
    columns = (Delivery.destination, Delivery.state)
    counts: dict[str, dict[str, int]] = {}
    for name, state, number in session.execute(select(*columns, func.count()).group_by(*columns).order_by(*columns)):
        counts.setdefault(name, {})[state] = number
    return counts


def _summary(name: str, row: DestinationState | None, counts: dict[str, int], now: datetime) -> DestinationSummary:
    if row is None:
        return DestinationSummary(name, False, 0, None, None, "", counts)
    waits = row.failures > 0 and row.not_before > now and DeliveryState.PREPARED.value in counts
    return DestinationSummary(
        name, row.paused, row.failures, row.not_before if waits else None, row.last_error, row.sr_class, counts
    )


def pause_destination(database: Database, name: str, actor: str, why: str) -> bool:
    """A person stops sending to a destination, with a reason; what is being sent at this moment is finished.

    Deliveries wait meanwhile and none is lost. False when it is paused already. Raises DatabaseAway.
    """
    return _set_paused(database, name, True, actor, why)


def resume_destination(database: Database, name: str, actor: str, why: str = "") -> bool:
    """A person lets deliveries go to a destination again, from now on; False when it was not paused."""
    return _set_paused(database, name, False, actor, why)


def _set_paused(database: Database, name: str, paused: bool, actor: str, why: str) -> bool:
    try:
        return _write_paused(database, name, paused, actor, why)
    except IntegrityError:
        # A sender met the destination for the first time at the same moment; the second look finds its row
        return _write_paused(database, name, paused, actor, why)


def _write_paused(database: Database, name: str, paused: bool, actor: str, why: str) -> bool:
    with database.writing() as session:
        now = database_time(session)
        row = session.get(DestinationState, name, with_for_update=True)
        if row is None:
            row = DestinationState(name=name, sr_class="", paused=False, failures=0, fence=0, not_before=now)
            session.add(row)
            session.flush()
        if row.paused == paused:
            return False
        row.paused = paused
        if not paused:
            row.not_before = now
        kind = EventKind.DESTINATION_PAUSED if paused else EventKind.DESTINATION_RESUMED
        add_event(session, kind, actor=actor, at=now, destination=name, why=why)
        return True
