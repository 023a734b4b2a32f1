"""Which ECGs may lose their files, by the site's stated rule, and the record of it: rows stay for ever."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from core.states import DeliveryState, EventKind, JobState
from records.clock import database_time
from records.database import Database
from records.tables import Classification, Delivery, Disposition, Instance, Job, Report
from records.trail import add_event

COMMITTED, SENT, ANSWERED = "committed", "sent", "answered"
_THERE = {
    COMMITTED: (DeliveryState.COMMITTED.value,),
    SENT: (DeliveryState.COMMITTED.value, DeliveryState.SENT.value),
    ANSWERED: (DeliveryState.COMMITTED.value, DeliveryState.SENT.value),
}
_TOGETHER = 500  # names in one statement
_ANSWER_STATES = (JobState.DONE.value, JobState.NOT_DIAGNOSTIC.value)
RESULT_COLUMNS = (
    Report.sha256,
    Classification.picture_sha256,
    Classification.thumbnail_sha256,
    Classification.heat_sha256,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What the site lets go: ECGs whose last change is `days` old and that are answered and, by `rule`, delivered."""

    days: float
    rule: str


@dataclass(frozen=True, slots=True)
class Expired:
    """An ECG whose files may go: the received file and the results that were made of it, by SHA-256."""

    ecg_id: int
    path: str
    size_bytes: int
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeptCounts:
    """ECGs that still have their files: all, and those that are old enough but are kept by the rule."""

    all: int
    old_but_needed: int


def list_expired(database: Database, rule: Rule, after: int, limit: int) -> list[Expired]:
    """Up to `limit` ECGs with a number above `after` whose files may go, oldest first."""
    with database.reading() as session:
        before = database_time(session) - timedelta(days=rule.days)
        query = _expired(rule, before).where(Instance.id > after).order_by(Instance.id).limit(limit)
        rows = list(session.scalars(query))
        results = _results_of(session, [row.id for row in rows])
        return [_as_expired(row, results.get(row.id, set())) for row in rows]


def count_kept(database: Database, rule: Rule) -> KeptCounts:
    """How many ECGs have their files, and how many old ones must keep them."""
    with database.reading() as session:
        before = database_time(session) - timedelta(days=rule.days)
        there = select(func.count()).select_from(Instance).where(Instance.file_deleted_at.is_(None))
        old = session.scalar(there.where(Instance.received_at < before)) or 0
        expired = session.scalar(select(func.count()).select_from(_expired(rule, before).subquery())) or 0
        return KeptCounts(session.scalar(there) or 0, old - expired)


def record_deleted(database: Database, rule: Rule, ecg_ids: Sequence[int], actor: str) -> list[Expired]:
    """Put on record that the files of these ECGs go; only those that may still go by now, each with its event.

    Called before the files are removed: a crash in between leaves files too many, never a row that promises one.
    """
    with database.writing() as session:
        now = database_time(session)
        query = _expired(rule, now - timedelta(days=rule.days)).where(Instance.id.in_(ecg_ids))
        rows = list(session.scalars(query.order_by(Instance.id).with_for_update(of=Instance)))
        results = _results_of(session, [row.id for row in rows])
        for row in rows:
            row.file_deleted_at = now
            add_event(
                session,
                EventKind.INSTANCE_DELETED,
                actor=actor,
                at=now,
                ecg_id=row.id,
                sop_instance_uid=row.sop_instance_uid,
                file_sha256=row.file_sha256,
                content_sha256=row.content_sha256,
                results=sorted(results.get(row.id, set())),
                rule=rule.rule,
                days=rule.days,
            )
        return [_as_expired(row, results.get(row.id, set())) for row in rows]


def find_deleted_paths(database: Database, paths: Sequence[str]) -> set[str]:
    """Which of these received files are on record as deleted."""
    found: set[str] = set()
    with database.reading() as session:
        for some in _parts_of(paths):
            query = select(Instance.path).where(Instance.path.in_(some), Instance.file_deleted_at.is_not(None))
            found.update(session.scalars(query))
    return found


def find_needed_results(database: Database, names: Sequence[str]) -> set[str]:
    """Which of these results belong to an ECG that keeps its files; equal bytes of two ECGs are one file."""
    needed: set[str] = set()
    with database.reading() as session:
        for column, some in product(RESULT_COLUMNS, _parts_of(names)):
            query = select(column).join(Instance, Instance.id == column.class_.ecg_id)
            rows = session.scalars(query.where(column.in_(some), Instance.file_deleted_at.is_(None)))
            needed.update(name for name in rows if name)
    return needed


def _parts_of(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start : start + _TOGETHER] for start in range(0, len(names), _TOGETHER)]


def _expired(rule: Rule, before: datetime) -> Select[Instance]:
    there = Instance.file_deleted_at.is_(None)
    return select(Instance).where(
        there, Instance.received_at < before, or_(_finished(rule, before), _copy_of_deleted())
    )


def _finished(rule: Rule, before: datetime) -> ColumnElement[bool]:
    """The last analysis gave an answer, and no report of any waits, failed or changed lately."""
    later = aliased(Job)
    of_it_later = exists().where(later.ecg_id == Job.ecg_id, later.id > Job.id).correlate(Job)
    answered = exists().where(
        Job.ecg_id == Instance.id, ~of_it_later, Job.state.in_(_ANSWER_STATES), Job.ended_at < before
    )
    of_it = Delivery.ecg_id == Instance.id
    fine = (*_THERE[rule.rule], DeliveryState.DROPPED.value)
    changed = func.coalesce(Delivery.ended_at, Delivery.sent_at, Delivery.created_at)
    open_ones = exists().where(of_it, or_(Delivery.state.not_in(fine), changed >= before))
    delivered: ColumnElement[bool] = exists().where(of_it, Delivery.state.in_(_THERE[rule.rule]))
    if rule.rule == ANSWERED:
        delivered = or_(delivered, ~exists().where(of_it))
    return and_(answered, ~open_ones, delivered)


def _copy_of_deleted() -> ColumnElement[bool]:
    """The same values as an ECG that is deleted by now, sent in another transfer syntax; never judged by itself."""
    first = aliased(Instance)
    return and_(
        Instance.disposition == Disposition.OTHER_SYNTAX.value,
        exists().where(
            first.sop_instance_uid == Instance.sop_instance_uid,
            first.disposition == Disposition.ACCEPTED.value,
            first.file_deleted_at.is_not(None),
        ),
    )


def _results_of(session: Session, ecg_ids: Sequence[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for column in RESULT_COLUMNS:
        owner = column.class_.ecg_id
        for ecg_id, name in session.execute(select(owner, column).where(owner.in_(ecg_ids), column.is_not(None))):
            found.setdefault(ecg_id, set()).add(str(name))
    return found


def _as_expired(row: Instance, results: set[str]) -> Expired:
    return Expired(row.id, row.path, row.size_bytes, tuple(sorted(results)))
