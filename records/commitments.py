"""Commitments that we ask destinations for: recorded before they are asked, matched to their answers by transaction.

A result that was `sent` is `committed` once its destination has said that it keeps it. What a destination has lost is
sent again; what it did not answer is asked again in a new transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Select, and_, select, update
from sqlalchemy.orm import Session

from core.states import CommitmentState, DeliveryState, EventKind
from records.clock import database_time
from records.database import Database
from records.tables import Commitment, CommitmentItem, Delivery, DestinationState, Report
from records.trail import add_event

# What was sent before that and never asked about, as when commitment is switched on, is left as it is
OLDEST_ASKED = timedelta(days=30)
_OPEN = (CommitmentState.PREPARED.value, CommitmentState.ASKED.value)
_THERE = (DeliveryState.SENT.value, DeliveryState.PREPARED.value)
_MOST_DOUBLINGS = 32


class Denial(StrEnum):
    """What a destination's "no" for a result means."""

    SEND_AGAIN = "send_again"
    ASK_AGAIN = "ask_again"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Denied:
    """A result that the destination does not keep, with its Failure Reason (0008,1197)."""

    reason: int
    denial: Denial


@dataclass(frozen=True, slots=True)
class CommitmentAnswer:
    """What a destination says of a transaction: pairs of SOP class and instance UID, and what it denies by instance."""

    transaction_uid: str
    committed: frozenset[tuple[str, str]]
    denied: Mapping[str, Denied]


@dataclass(frozen=True, slots=True)
class PendingCommitment:
    """A question to ask now; pairs of SOP class and instance UID."""

    commitment_id: int
    transaction_uid: str
    destination: str
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what: after sending, for an answer, and between tries."""

    delay_s: float
    answer_s: float
    first_s: float
    most_s: float

    def back_off(self, failures: int) -> timedelta:
        """Delay after `failures` earlier ones."""
        return timedelta(seconds=min(self.most_s, self.first_s * 2.0 ** min(failures, _MOST_DOUBLINGS)))


def begin_commitment(
    database: Database, destination: str, transaction_uid: str, patience: Patience, limit: int
) -> PendingCommitment | None:
    """Record a question about results that are due for one; None when there are none. Raises DatabaseAway.

    What is in a question without an answer is in no other, so that two senders don't ask twice. Questions that stay
    unanswered too long are closed first; an answer that comes after that still counts.
    """
    with database.reading() as session:
        now = database_time(session)
        row = session.get(DestinationState, destination)
        if row is None or _must_wait(row, now) or not _something_to_do(session, destination, now, patience):
            return None
    with database.writing() as session:
        row = session.get_one(DestinationState, destination, with_for_update=True)
        now = database_time(session)
        if _must_wait(row, now):
            return None
        _close_unanswered(session, destination, now, patience)
        found = session.execute(_due(destination, now, patience).limit(limit)).all()
        if not found:
            return None
        return _begin(session, destination, transaction_uid, [(one.Delivery, one.Report) for one in found], now)


def _must_wait(row: DestinationState, now: datetime) -> bool:
    return row.paused or (row.commitment_not_before is not None and row.commitment_not_before > now)


def _something_to_do(session: Session, destination: str, now: datetime, patience: Patience) -> bool:
    late = select(Commitment.id).where(*_late(destination, now, patience)).limit(1)
    return (
        session.scalar(late) is not None
        or session.execute(_due(destination, now, patience).limit(1)).first() is not None
    )


def _late(destination: str, now: datetime, patience: Patience) -> tuple[ColumnElement[bool], ...]:
    since = now - timedelta(seconds=patience.answer_s)
    return Commitment.destination == destination, Commitment.state.in_(_OPEN), Commitment.created_at <= since


def _close_unanswered(session: Session, destination: str, now: datetime, patience: Patience) -> None:
    for row in session.scalars(select(Commitment).where(*_late(destination, now, patience))):
        row.state, row.ended_at = CommitmentState.UNANSWERED.value, now
        row.last_error = row.last_error or "no answer came"


def _due(destination: str, now: datetime, patience: Patience) -> Select[Delivery, Report]:
    asked = (
        select(CommitmentItem.id)
        .join(Commitment, Commitment.id == CommitmentItem.commitment_id)
        .where(CommitmentItem.delivery_id == Delivery.id, Commitment.state.in_(_OPEN))
        .exists()
    )
    return (
        select(Delivery, Report)
        .join(Report, Report.id == Delivery.report_id)
        .where(
            Delivery.destination == destination,
            Delivery.state == DeliveryState.SENT.value,
            Delivery.sent_at <= now - timedelta(seconds=patience.delay_s),
            Delivery.sent_at >= now - OLDEST_ASKED,
            ~asked,
        )
        .order_by(Delivery.id)
    )


def _begin(
    session: Session, destination: str, transaction_uid: str, results: Sequence[tuple[Delivery, Report]], now: datetime
) -> PendingCommitment:
    row = Commitment(
        transaction_uid=transaction_uid,
        destination=destination,
        state=CommitmentState.PREPARED.value,
        created_at=now,
    )
    session.add(row)
    session.flush()
    for delivery, report in results:
        session.add(
            CommitmentItem(
                commitment_id=row.id,
                delivery_id=delivery.id,
                sop_class_uid=report.sop_class_uid,
                sop_instance_uid=report.sop_instance_uid,
            )
        )
    items = [(report.sop_class_uid, report.sop_instance_uid) for _delivery, report in results]
    add_event(
        session,
        EventKind.COMMITMENT_ASKED,
        actor="sender",
        at=now,
        destination=destination,
        transaction_uid=transaction_uid,
        reports=[uid for _class, uid in items],
    )
    return PendingCommitment(row.id, transaction_uid, destination, items)


def record_asked(database: Database, pending: PendingCommitment) -> None:
    """The destination has taken the question; its answer comes when it comes."""
    with database.writing() as session:
        now = database_time(session)
        session.execute(
            update(Commitment)
            .where(Commitment.id == pending.commitment_id, Commitment.state == CommitmentState.PREPARED.value)
            .values(state=CommitmentState.ASKED.value, asked_at=now)
        )


def record_not_asked(database: Database, pending: PendingCommitment, why: str, patience: Patience) -> None:
    """The destination could not be asked, or would not be; it is asked again, in a new transaction, after a delay."""
    with database.writing() as session:
        destination = session.get_one(DestinationState, pending.destination, with_for_update=True)
        now = database_time(session)
        row = session.get_one(Commitment, pending.commitment_id)
        if row.state == CommitmentState.ANSWERED.value:
            return
        row.state, row.ended_at, row.last_error = CommitmentState.UNANSWERED.value, now, why
        _wait(destination, now, patience)


def _wait(destination: DestinationState, now: datetime, patience: Patience) -> None:
    destination.commitment_not_before = now + patience.back_off(destination.commitment_failures)
    destination.commitment_failures += 1


def record_commitment(database: Database, answer: CommitmentAnswer, actor: str, patience: Patience) -> bool:
    """Record what a destination answered; False for a transaction that was never asked. Harmless when it comes twice.

    A result is committed once, whatever is said of it later.
    """
    with database.writing() as session:
        name = session.scalar(
            select(Commitment.destination).where(Commitment.transaction_uid == answer.transaction_uid)
        )
        if name is None:
            return False
        destination = session.get_one(DestinationState, name, with_for_update=True)
        now = database_time(session)
        row = session.scalars(select(Commitment).where(Commitment.transaction_uid == answer.transaction_uid)).one()
        row.state, row.ended_at, row.last_error = CommitmentState.ANSWERED.value, now, None
        open_items = list(
            session.scalars(
                select(CommitmentItem)
                .where(CommitmentItem.commitment_id == row.id, CommitmentItem.committed.is_(None))
                .order_by(CommitmentItem.delivery_id)
            )
        )
        whole = [_record_item(session, row, item, answer, actor, now, patience) for item in open_items]
        if open_items and all(whole):
            destination.commitment_failures, destination.commitment_not_before = 0, None
        elif open_items:
            _wait(destination, now, patience)
        return True


def _record_item(
    session: Session,
    commitment: Commitment,
    item: CommitmentItem,
    answer: CommitmentAnswer,
    actor: str,
    now: datetime,
    patience: Patience,
) -> bool:
    """Record what was said of one result; False when it is to be asked about again."""
    delivery = session.get_one(Delivery, item.delivery_id, with_for_update=True)
    if (item.sop_class_uid, item.sop_instance_uid) in answer.committed:
        item.committed = True
        if delivery.state in _THERE:
            delivery.state, delivery.ended_at, delivery.last_error = DeliveryState.COMMITTED.value, now, None
            _note(session, EventKind.DELIVERY_COMMITTED, commitment, item, delivery, actor, now)
        return True
    denied = answer.denied.get(item.sop_instance_uid)
    if denied is None:
        return False
    earlier = _denied_before(session, delivery.id)
    item.committed, item.reason = False, denied.reason
    _note(session, EventKind.COMMITMENT_DENIED, commitment, item, delivery, actor, now, reason=denied.reason)
    if delivery.state != DeliveryState.SENT.value or _asked_anew(session, item):
        return True
    delivery.last_error = f"storage commitment was denied ({denied.reason:#06x})"
    if denied.denial is Denial.SEND_AGAIN:
        delivery.state, delivery.not_before = DeliveryState.PREPARED.value, now + patience.back_off(earlier)
    elif denied.denial is Denial.GIVE_UP:
        delivery.state, delivery.ended_at = DeliveryState.FAILED.value, now
    return denied.denial is not Denial.ASK_AGAIN


def _denied_before(session: Session, delivery_id: int) -> int:
    query = select(CommitmentItem.id).where(
        CommitmentItem.delivery_id == delivery_id, CommitmentItem.committed.is_(False)
    )
    return len(session.scalars(query).all())


def _asked_anew(session: Session, item: CommitmentItem) -> bool:
    """Whether a later question about the same result exists: what was said to the earlier one is outdated."""
    later = and_(CommitmentItem.delivery_id == item.delivery_id, CommitmentItem.id > item.id)
    return session.scalar(select(CommitmentItem.id).where(later).limit(1)) is not None


def _note(
    session: Session,
    kind: EventKind,
    commitment: Commitment,
    item: CommitmentItem,
    delivery: Delivery,
    actor: str,
    now: datetime,
    **details: object,
) -> None:
    add_event(
        session,
        kind,
        actor=actor,
        at=now,
        ecg_id=delivery.ecg_id,
        job_id=delivery.job_id,
        destination=commitment.destination,
        transaction_uid=commitment.transaction_uid,
        report=item.sop_instance_uid,
        **details,
    )


def list_commitments(database: Database, states: Iterable[CommitmentState] = CommitmentState) -> list[Commitment]:
    """Questions to destinations, oldest first."""
    with database.reading() as session:
        wanted = [state.value for state in states]
        return list(session.scalars(select(Commitment).where(Commitment.state.in_(wanted)).order_by(Commitment.id)))
