"""Received instances: recorded once, whoever sends them how often."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import CursorResult, bindparam, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import Rejected
from core.states import EventKind, JobState
from core.values import ReceivedInstance
from records.clock import database_time
from records.database import Database
from records.tables import Disposition, Instance, Job, table_of
from records.trail import add_event


class Outcome(StrEnum):
    """What a received instance was to us; all four are answered with Success."""

    NEW = "new"
    RESENT = "resent"
    RESENT_IN_OTHER_SYNTAX = "resent_in_other_syntax"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that an instance is on record; `keep_file` is False when an equal file is kept already."""

    outcome: Outcome
    ecg_id: int
    job_id: int | None
    keep_file: bool


_EVENTS = {
    Outcome.NEW: EventKind.INSTANCE_RECEIVED,
    Outcome.RESENT: EventKind.INSTANCE_RESENT,
    Outcome.RESENT_IN_OTHER_SYNTAX: EventKind.RESENT_IN_OTHER_SYNTAX,
    Outcome.CONFLICT: EventKind.CONTENT_CONFLICT,
}
_DISPOSITIONS = {
    Outcome.NEW: Disposition.ACCEPTED,
    Outcome.RESENT_IN_OTHER_SYNTAX: Disposition.OTHER_SYNTAX,
    Outcome.CONFLICT: Disposition.CONFLICT,
}

_PATHS_TOGETHER = 500


def record_received(database: Database, received: ReceivedInstance, since_s: float = 0.0) -> Receipt:
    """Record an instance whose file is safe on disk, with its job and its event, in one transaction.

    `since_s` are the seconds since its last byte came, and count back to the time that goes on record. Only a new
    instance gets a job. Raises DatabaseAway; then nothing is recorded and the file is the caller's to remove.
    """
    try:
        return _record(database, received, since_s)
    except IntegrityError:
        # Two senders brought the same UID at the same moment; the second look finds the first one's row
        return _record(database, received, since_s)


# Built once: building and compiling these statements anew was most of what receiving an ECG cost
_INSTANCES, _JOBS = table_of(Instance), table_of(Job)
_KNOWN = select(
    _INSTANCES.c.id,
    _INSTANCES.c.content_sha256,
    _INSTANCES.c.comparison_sha256,
    _INSTANCES.c.pixel_sha256,
    _INSTANCES.c.transfer_syntax_uid,
).where(_INSTANCES.c.sop_instance_uid == bindparam("uid"))
_NEW_INSTANCE, _NEW_JOB = insert(_INSTANCES), insert(_JOBS)


def _record(database: Database, received: ReceivedInstance, since_s: float) -> Receipt:
    with database.writing() as session:
        now = database_time(session)
        known: list[Any] = list(session.connection().execute(_KNOWN, {"uid": received.sop_instance_uid}))
        outcome, ecg_id = _judge(known, received)
        if ecg_id is None:
            ecg_id = _insert_instance(session, received, outcome, now - timedelta(seconds=since_s))
        job_id = _insert_job(session, ecg_id, received.stat, now) if outcome is Outcome.NEW else None
        add_event(
            session,
            _EVENTS[outcome],
            actor=received.calling_ae_title,
            at=now,
            ecg_id=ecg_id,
            sop_instance_uid=received.sop_instance_uid,
            content_sha256=received.content_sha256,
            peer_address=received.peer_address,
            association_id=received.association_id,
        )
        return Receipt(outcome, ecg_id, job_id, keep_file=outcome is not Outcome.RESENT)


def _judge(known: Sequence[Any], received: ReceivedInstance) -> tuple[Outcome, int | None]:
    """What a received instance is, and the instance that it was sent again of."""
    for row in known:
        if row.content_sha256 == received.content_sha256:
            return Outcome.RESENT, row.id
    if not known:
        return Outcome.NEW, None
    alike = [row for row in known if row.comparison_sha256 and row.comparison_sha256 == received.comparison_sha256]
    for row in alike:
        if row.pixel_sha256 == received.pixel_sha256:
            # The same values in other bytes, as when a sender writes sequence lengths another way
            return Outcome.RESENT, row.id
    if any(row.transfer_syntax_uid != received.transfer_syntax_uid for row in alike):
        return Outcome.RESENT_IN_OTHER_SYNTAX, None
    return Outcome.CONFLICT, None


def _insert_instance(session: Session, received: ReceivedInstance, outcome: Outcome, at: datetime) -> int:
    values = {field.name: getattr(received, field.name) for field in fields(received)}
    values |= {"disposition": _DISPOSITIONS[outcome].value, "received_at": at}
    return _inserted_id(session.connection().execute(_NEW_INSTANCE, values))


def _insert_job(
    session: Session, ecg_id: int, stat: bool, now: datetime, request: str = "first", priority: int = 0
) -> int:
    values = {"ecg_id": ecg_id, "request": request, "state": JobState.QUEUED.value, "stat": stat}
    values |= {"priority": priority, "not_before": now, "created_at": now}
    return _inserted_id(session.connection().execute(_NEW_JOB, values))


def _inserted_id(result: CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def queue_job(
    session: Session,
    row: Instance,
    now: datetime,
    request: str = "first",
    priority: int = 0,
    stat: bool | None = None,
) -> int:
    """Queue an analysis of an instance; a lower `priority` is claimed earlier; STAT as the instance, or as given.

    Raises Rejected when its file was deleted.
    """
    if row.file_deleted_at is not None:
        raise Rejected(f"ECG {row.id}: its file was deleted on {row.file_deleted_at:%Y-%m-%d} by the retention rule")
    return _insert_job(session, row.id, row.stat if stat is None else stat, now, request, priority)


def find_known_paths(database: Database, paths: list[str]) -> set[str]:
    """Which of these file paths are on record."""
    known: set[str] = set()
    with database.reading() as session:
        for start in range(0, len(paths), _PATHS_TOGETHER):
            some = paths[start : start + _PATHS_TOGETHER]
            known.update(session.scalars(select(Instance.path).where(Instance.path.in_(some))))
    return known


def release_conflict(database: Database, ecg_id: int, actor: str) -> int:
    """Let an instance that was kept as a conflict be judged after all, by a person's decision; its job's id."""
    with database.writing() as session:
        now = database_time(session)
        row = session.get_one(Instance, ecg_id)
        job_id = queue_job(session, row, now)
        add_event(session, EventKind.CONFLICT_RELEASED, actor=actor, at=now, ecg_id=ecg_id, job_id=job_id)
        return job_id


def seconds_since(database: Database, when: datetime) -> float:
    """How long ago an instant of the records was, by the database's clock."""
    with database.reading() as session:
        return (database_time(session) - when).total_seconds()
