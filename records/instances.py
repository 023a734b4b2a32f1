"""Received instances: recorded once, whoever sends them how often."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import Rejected
from core.states import EventKind, JobState
from core.values import ReceivedInstance
from records.clock import database_time
from records.database import Database
from records.tables import Disposition, Instance, Job
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


def _record(database: Database, received: ReceivedInstance, since_s: float) -> Receipt:
    with database.writing() as session:
        now = database_time(session)
        known = list(session.scalars(select(Instance).where(Instance.sop_instance_uid == received.sop_instance_uid)))
        outcome, row = _judge(known, received)
        if row is None:
            row = Instance(
                **asdict(received),
                disposition=_DISPOSITIONS[outcome].value,
                received_at=now - timedelta(seconds=since_s),
            )
            session.add(row)
            session.flush()
        job_id = queue_job(session, row, now) if outcome is Outcome.NEW else None
        add_event(
            session,
            _EVENTS[outcome],
            actor=received.calling_ae_title,
            at=now,
            ecg_id=row.id,
            sop_instance_uid=received.sop_instance_uid,
            content_sha256=received.content_sha256,
            peer_address=received.peer_address,
            association_id=received.association_id,
        )
        return Receipt(outcome, row.id, job_id, keep_file=outcome is not Outcome.RESENT)


def _judge(known: list[Instance], received: ReceivedInstance) -> tuple[Outcome, Instance | None]:
    for row in known:
        if row.content_sha256 == received.content_sha256:
            return Outcome.RESENT, row
    if not known:
        return Outcome.NEW, None
    alike = [row for row in known if row.comparison_sha256 and row.comparison_sha256 == received.comparison_sha256]
    for row in alike:
        if row.pixel_sha256 == received.pixel_sha256:
            # The same values in other bytes, as when a sender writes sequence lengths another way
            return Outcome.RESENT, row
    if any(row.transfer_syntax_uid != received.transfer_syntax_uid for row in alike):
        return Outcome.RESENT_IN_OTHER_SYNTAX, None
    return Outcome.CONFLICT, None


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
    job = Job(
        ecg_id=row.id,
        request=request,
        state=JobState.QUEUED.value,
        stat=row.stat if stat is None else stat,
        priority=priority,
        not_before=now,
        created_at=now,
    )
    session.add(job)
    session.flush()
    return job.id


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
