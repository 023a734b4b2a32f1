"""Reports on their way: one sender a destination at a time, back-off without an end date for what may pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, CursorResult, select, update
from sqlalchemy.orm import Session

from core.errors import Rejected
from core.states import DeliveryState, EventKind
from records.clock import database_time
from records.database import Database
from records.tables import Delivery, DestinationState, Instance, Report
from records.trail import add_event


@dataclass(frozen=True, slots=True)
class Turn:
    """A sender's right to serve a destination for a while; `failures` counts tries in a row that found it away."""

    destination: str
    fence: int
    sr_class: str
    failures: int


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """A report to send now; its bytes lie in the results folder under `sha256`."""

    delivery_id: int
    ecg_id: int
    job_id: int
    attempt: int
    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    sha256: str
    association_id: str


def claim_destination(database: Database, name: str, owner: str, lease_s: float) -> Turn | None:
    """Take a destination's turn when it has work that is due and nobody else serves it."""
    with database.writing() as session:
        now = database_time(session)
        row = session.get(DestinationState, name, with_for_update={"skip_locked": True})
        if row is None:
            if session.scalar(select(DestinationState.name).where(DestinationState.name == name)):
                return None
            row = DestinationState(name=name, sr_class="", paused=False, failures=0, fence=0, not_before=now)
            session.add(row)
            session.flush()
        # A process serves a destination from one thread: a turn of its own that is open broke off
        busy = row.lease_until is not None and row.lease_until >= now and row.owner != owner
        if busy or row.paused or row.not_before > now or not _has_work(session, name, now):
            return None
        row.owner, row.fence, row.lease_until = owner, row.fence + 1, now + timedelta(seconds=lease_s)
        return Turn(name, row.fence, row.sr_class, row.failures)


def _has_work(session: Session, name: str, now: datetime) -> bool:
    return session.scalar(select(Delivery.id).where(*_due(name, now)).limit(1)) is not None


def _due(name: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        Delivery.destination == name,
        Delivery.state == DeliveryState.PREPARED.value,
        Delivery.not_before <= now,
    )


def keep_sr_class(database: Database, turn: Turn, sr_class: str) -> Turn:
    """Keep which SR class a destination takes, so that it is asked once."""
    with database.writing() as session:
        _fenced(session, turn, sr_class=sr_class)
    return Turn(turn.destination, turn.fence, sr_class, turn.failures)


def list_due(database: Database, turn: Turn, limit: int) -> list[PendingDelivery]:
    """Deliveries that are due, STAT first; just one, a probe, while the destination was last found away.

    None while a person has paused the destination. An SR whose class was open gets the destination's class here, for
    good.
    """
    with database.writing() as session:
        now = database_time(session)
        if session.scalar(select(DestinationState.paused).where(DestinationState.name == turn.destination)):
            return []
        most = 1 if turn.failures else limit
        # A probe is what was not tried for longest: one report that breaks associations must not block the rest
        order = (*([] if turn.failures else [Delivery.stat.desc()]), Delivery.not_before, Delivery.id)
        # SR and heat map of one job leave together, the SR first: viewers follow its reference to the map
        rows = session.scalars(select(Delivery).where(*_due(turn.destination, now)).order_by(*order).limit(most))
        return [_pending(session, row, turn) for row in rows]


def _pending(session: Session, row: Delivery, turn: Turn) -> PendingDelivery:
    if row.report_id is None:
        row.report_id = session.scalars(
            select(Report.id).where(
                Report.job_id == row.job_id,
                Report.kind == row.kind,
                Report.frame == row.frame,
                Report.sr_class == turn.sr_class,
            )
        ).one()
    report = session.get_one(Report, row.report_id)
    return PendingDelivery(
        delivery_id=row.id,
        ecg_id=row.ecg_id,
        job_id=row.job_id,
        attempt=row.attempt,
        kind=row.kind,
        sop_class_uid=report.sop_class_uid,
        sop_instance_uid=report.sop_instance_uid,
        transfer_syntax_uid=report.transfer_syntax_uid,
        sha256=report.sha256,
        association_id=_association_of(session, row),
    )


def _association_of(session: Session, row: Delivery) -> str:
    """Of the association that brought the ECG: the one id that runs from there to its deliveries."""
    return session.get_one(Instance, row.ecg_id).association_id


class LostTurn(Rejected):
    """Another sender serves the destination by now."""


def record_delivered(database: Database, turn: Turn, delivery: PendingDelivery, status: int) -> None:
    """The destination answered that it has the report."""
    with database.writing() as session:
        now = database_time(session)
        _fenced(session, turn, failures=0, last_error=None)
        row = session.get_one(Delivery, delivery.delivery_id)
        if row.state != DeliveryState.PREPARED.value:
            return
        row.state, row.last_status, row.last_error = DeliveryState.SENT.value, status, None
        row.attempt, row.sent_at = row.attempt + 1, now
        _note(session, EventKind.DELIVERY_SENT, turn, row, now, status=status, report=delivery.sop_instance_uid)


def record_refused(database: Database, turn: Turn, delivery: PendingDelivery, status: int | None, why: str) -> None:
    """The destination will never take this report as it is; a person has to look."""
    with database.writing() as session:
        now = database_time(session)
        _fenced(session, turn, failures=0)
        row = session.get_one(Delivery, delivery.delivery_id)
        if row.state != DeliveryState.PREPARED.value:
            return
        row.state, row.last_status, row.last_error = DeliveryState.FAILED.value, status, why
        row.attempt, row.ended_at = row.attempt + 1, now
        _note(session, EventKind.DELIVERY_FAILED, turn, row, now, status=status, why=why)


def record_postponed(
    database: Database, turn: Turn, delivery: PendingDelivery, status: int | None, why: str, delay_s: float
) -> None:
    """The destination could not take this report now; try it again after a delay."""
    with database.writing() as session:
        now = database_time(session)
        _fenced(session, turn, failures=0)
        row = session.get_one(Delivery, delivery.delivery_id)
        row.attempt, row.last_status, row.last_error = row.attempt + 1, status, why
        row.not_before = now + timedelta(seconds=delay_s)


def record_away(database: Database, turn: Turn, why: str, delay_s: float, tried: Sequence[PendingDelivery]) -> None:
    """The destination itself is away: nothing goes there until the delay is over, then one probe."""
    with database.writing() as session:
        now = database_time(session)
        _fenced(
            session,
            turn,
            failures=turn.failures + 1,
            not_before=now + timedelta(seconds=delay_s),
            last_error=why,
            lease_until=None,
            owner=None,
        )
        session.execute(
            update(Delivery)
            .where(Delivery.id.in_([one.delivery_id for one in tried]))
            .values(attempt=Delivery.attempt + 1, last_error=why, not_before=now + timedelta(seconds=delay_s))
        )


def end_turn(database: Database, turn: Turn) -> None:
    """Let another sender have the destination."""
    with database.writing() as session:
        _fenced(session, turn, lease_until=None, owner=None)


def renew_turn(database: Database, turn: Turn, lease_s: float) -> None:
    """Say that the destination is still being served. Raises LostTurn when the turn is over or another's."""
    with database.writing() as session:
        until = database_time(session) + timedelta(seconds=lease_s)
        _fenced(session, turn, DestinationState.lease_until.is_not(None), lease_until=until)


def _fenced(session: Session, turn: Turn, *also: ColumnElement[bool], **values: object) -> None:
    result = session.execute(
        update(DestinationState)
        .where(DestinationState.name == turn.destination, DestinationState.fence == turn.fence, *also)
        .values(**values)
    )
    assert isinstance(result, CursorResult)
    if result.rowcount == 0:
        raise LostTurn(f"{turn.destination}: another sender serves it now")


def _note(session: Session, kind: EventKind, turn: Turn, row: Delivery, now: datetime, **details: object) -> None:
    add_event(
        session,
        kind,
        actor="sender",
        at=now,
        ecg_id=row.ecg_id,
        job_id=row.job_id,
        destination=turn.destination,
        report_kind=row.kind,
        attempt=row.attempt,
        association_id=_association_of(session, row),
        **details,
    )


_RETRIABLE = (DeliveryState.PREPARED.value, DeliveryState.FAILED.value, DeliveryState.DROPPED.value)


def retry_delivery(database: Database, delivery_id: int, actor: str) -> bool:
    """A person asks for another try, at once, of a delivery that failed, was dropped or waits.

    A destination that was found away gets its next probe at once, too. False when the delivery was accepted already,
    or when its files were deleted since.
    """
    with database.writing() as session:
        now = database_time(session)
        row = session.get(Delivery, delivery_id)
        if row is None:
            return False
        # The destination before the delivery, as a sender locks them
        destination = session.get(DestinationState, row.destination, with_for_update=True)
        session.refresh(row, with_for_update=True)
        if row.state not in _RETRIABLE or session.get_one(Instance, row.ecg_id).file_deleted_at is not None:
            return False
        row.state, row.not_before, row.ended_at = DeliveryState.PREPARED.value, now, None
        if destination is not None:
            destination.not_before = now
        _person(session, EventKind.DELIVERY_RETRIED, actor, row, now)
        return True


def drop_delivery(database: Database, delivery_id: int, actor: str, why: str) -> bool:
    """A person gives a delivery up, with a reason; False when it has left or ended already."""
    with database.writing() as session:
        now = database_time(session)
        row = session.get(Delivery, delivery_id)
        if row is None or row.state not in (DeliveryState.PREPARED.value, DeliveryState.FAILED.value):
            return False
        row.state, row.ended_at, row.last_error = DeliveryState.DROPPED.value, now, why
        _person(session, EventKind.DELIVERY_DROPPED, actor, row, now, why=why)
        return True


def _person(session: Session, kind: EventKind, actor: str, row: Delivery, now: datetime, **details: object) -> None:
    add_event(
        session,
        kind,
        actor=actor,
        at=now,
        ecg_id=row.ecg_id,
        delivery_id=row.id,
        destination=row.destination,
        **details,
    )


def list_deliveries(
    database: Database, state: DeliveryState | None = None, destination: str | None = None, limit: int = 200
) -> list[Delivery]:
    """Deliveries, newest first."""
    with database.reading() as session:
        query = select(Delivery).order_by(Delivery.id.desc()).limit(limit)
        if state:
            query = query.where(Delivery.state == state.value)
        if destination:
            query = query.where(Delivery.destination == destination)
        return list(session.scalars(query))
