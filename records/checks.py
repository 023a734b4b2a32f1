"""What must always hold in the records, looked at without changing anything; `dicom_node.checks` looks at the files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, func, or_, select

from core.states import DeliveryState, EventKind, JobState, ReportKind
from records.audit import verify_trail
from records.clock import database_time
from records.database import Database
from records.tables import Classification, Delivery, DestinationState, Disposition, Instance, Job, Report, TrailEvent

_PAGE = 500
_SHOWN = 1000  # findings of one kind that are listed; more say the same
_SENT = (DeliveryState.SENT.value, DeliveryState.COMMITTED.value)
_ARRIVALS = (EventKind.INSTANCE_RECEIVED, EventKind.RESENT_IN_OTHER_SYNTAX, EventKind.CONTENT_CONFLICT)


@dataclass(frozen=True, slots=True)
class Looked:
    """One thing that must hold: how many were looked at, and each that does not hold, by id and never by patient."""

    what: str
    number: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A received file that a row names."""

    ecg_id: int
    path: str
    size_bytes: int
    file_sha256: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def check_records(database: Database, limit_s: float) -> list[Looked]:
    """Everything that can be seen in the database alone; `limit_s` is how long an answer may take."""
    return [
        _answers(database, limit_s),
        _claims(database, limit_s),
        _reports(database),
        _duplicates(database),
        _deliveries(database, limit_s),
        _events(database),
        _chain(database),
    ]


def list_kept_files(database: Database) -> Iterator[KeptFile]:
    """Files that must be there: those of every instance that retention has not deleted."""
    after = 0
    while True:
        query = select(Instance).where(Instance.id > after, Instance.file_deleted_at.is_(None))
        with database.reading() as session:
            rows = session.scalars(query.order_by(Instance.id).limit(_PAGE)).all()
        if not rows:
            return
        for row in rows:
            yield KeptFile(
                row.id, row.path, row.size_bytes, row.file_sha256, row.sop_instance_uid, row.transfer_syntax_uid
            )
        after = rows[-1].id


def list_kept_results(database: Database) -> Iterator[str]:
    """SHA-256 of every result that must be there."""
    columns = (
        Report.sha256,
        Classification.picture_sha256,
        Classification.thumbnail_sha256,
        Classification.heat_sha256,
    )
    for column in columns:
        query = select(column).join(Instance, Instance.id == column.class_.ecg_id)
        with database.reading() as session:
            rows = session.scalars(query.where(column.is_not(None), Instance.file_deleted_at.is_(None)))
            yield from filter(None, rows.yield_per(_PAGE))


def _answers(database: Database, limit_s: float) -> Looked:
    """Every accepted ECG has a job, and its job ends in time."""
    with database.reading() as session:
        late = database_time(session) - timedelta(seconds=limit_s)
        accepted = Instance.disposition == Disposition.ACCEPTED.value
        number = session.scalar(select(func.count()).select_from(Instance).where(accepted)) or 0
        jobless = session.scalars(
            select(Instance.id).outerjoin(Job, Job.ecg_id == Instance.id).where(accepted, Job.id.is_(None))
        ).all()
        waiting = Job.state.in_((JobState.QUEUED.value, JobState.RUNNING.value))
        overdue = session.execute(
            select(Job.ecg_id, Job.state, Job.attempt).where(waiting, Job.created_at < late).order_by(Job.id)
        ).all()
    findings = [f"ECG {ecg_id}: accepted, but no job was ever made for it" for ecg_id in jobless]
    findings += [
        f"ECG {row.ecg_id}: {row.state} at attempt {row.attempt}, no answer after {limit_s:g} s" for row in overdue
    ]
    return _looked("every accepted ECG is answered in time", number, findings)


def _claims(database: Database, limit_s: float) -> Looked:
    """A claim whose lease ran out long ago means that no worker looks."""
    with database.reading() as session:
        late = database_time(session) - timedelta(seconds=limit_s)
        running = Job.state == JobState.RUNNING.value
        number = session.scalar(select(func.count()).select_from(Job).where(running)) or 0
        stuck = session.execute(select(Job.id, Job.owner).where(running, Job.lease_until < late)).all()
    findings = [f"job {row.id}: claimed by {row.owner}, its lease ran out; does a worker run?" for row in stuck]
    return _looked("no job is stuck with a worker that is gone", number, findings)


def _reports(database: Database) -> Looked:
    """A job that ended with an answer has said something about a picture at least."""
    with database.reading() as session:
        ended = Job.state.in_((JobState.DONE.value, JobState.NOT_DIAGNOSTIC.value))
        number = session.scalar(select(func.count()).select_from(Job).where(ended)) or 0
        silent = session.scalars(
            select(Job.id)
            .outerjoin(Classification, Classification.job_id == Job.id)
            .where(ended, Classification.id.is_(None))
        ).all()
    return _looked("every ended job has its answer", number, [f"job {one}: ended without an answer" for one in silent])


def _duplicates(database: Database) -> Looked:
    """At most one SR for each input, model and destination."""
    key = (Delivery.destination, Delivery.ecg_id, Classification.weights_sha256)
    count = func.count(func.distinct(Report.sop_instance_uid))
    with database.reading() as session:
        sent = (Delivery.kind == ReportKind.SR.value, Delivery.state.in_(_SENT))
        number = session.scalar(select(func.count()).select_from(Delivery).where(*sent)) or 0
        twice = session.execute(
            select(*key, count.label("number"))
            .join(Report, Report.id == Delivery.report_id)
            .join(Classification, Classification.job_id == Delivery.job_id)
            .where(*sent)
            .group_by(*key)
            .having(count > 1)
        ).all()
    findings = [f"ECG {row.ecg_id}: {row.number} different SRs by one model at {row.destination}" for row in twice]
    return _looked("no ECG was answered twice", number, findings)


def _deliveries(database: Database, limit_s: float) -> Looked:
    """What is due leaves in time, unless its destination was paused by a person."""
    with database.reading() as session:
        late = database_time(session) - timedelta(seconds=limit_s)
        prepared = Delivery.state == DeliveryState.PREPARED.value
        number = session.scalar(select(func.count()).select_from(Delivery).where(prepared)) or 0
        late_ones = session.execute(
            select(Delivery.destination, func.count().label("number"), func.min(Delivery.created_at).label("since"))
            .outerjoin(DestinationState, DestinationState.name == Delivery.destination)
            .where(prepared, Delivery.created_at < late, _not_paused())
            .group_by(Delivery.destination)
        ).all()
    findings = [
        f"{row.destination}: {row.number} reports wait, the first since {row.since:%Y-%m-%d %H:%M} UTC"
        for row in late_ones
    ]
    return _looked("reports leave in time", number, findings)


def _not_paused() -> ColumnElement[bool]:
    return or_(DestinationState.name.is_(None), DestinationState.paused.is_(False))


def _events(database: Database) -> Looked:
    """Each arrival and each answer stands in the trail once."""
    with database.reading() as session:
        number = session.scalar(select(func.count()).select_from(Instance)) or 0
        arrivals = select(TrailEvent.ecg_id, func.count().label("events")).where(TrailEvent.kind.in_(_ARRIVALS))
        arrived = arrivals.group_by(TrailEvent.ecg_id).subquery()
        unlike_one = session.execute(
            select(Instance.id, func.coalesce(arrived.c.events, 0).label("events"))
            .outerjoin(arrived, arrived.c.ecg_id == Instance.id)
            .where(func.coalesce(arrived.c.events, 0) != 1)
        ).all()
        answers = select(TrailEvent.ecg_id, func.count().label("events")).where(
            TrailEvent.kind == EventKind.JOB_FINISHED.value
        )
        said = answers.group_by(TrailEvent.ecg_id).subquery()
        ended = (
            select(Job.ecg_id, func.count().label("jobs"))
            .where(Job.state.in_((JobState.DONE.value, JobState.NOT_DIAGNOSTIC.value)))
            .group_by(Job.ecg_id)
            .subquery()
        )
        unlike_jobs = session.execute(
            select(ended.c.ecg_id, ended.c.jobs, func.coalesce(said.c.events, 0).label("events"))
            .outerjoin(said, said.c.ecg_id == ended.c.ecg_id)
            .where(ended.c.jobs != func.coalesce(said.c.events, 0))
        ).all()
    findings = [f"ECG {row.id}: its arrival stands {row.events} times in the trail" for row in unlike_one]
    findings += [f"ECG {row.ecg_id}: {row.jobs} answers, {row.events} of them in the trail" for row in unlike_jobs]
    return _looked("each arrival and each answer stands in the trail once", number, findings)


def _chain(database: Database) -> Looked:
    verdict = verify_trail(database)
    return Looked("the trail is whole", verdict.entries, (verdict.fault,) if verdict.fault else ())


def _looked(what: str, number: int, findings: Sequence[str]) -> Looked:
    shown = tuple(findings[:_SHOWN])
    left = len(findings) - len(shown)
    return Looked(what, number, (*shown, f"and {left} more") if left else shown)
