"""ECGs judged again by another model: new jobs beside the old ones, at low priority; nothing is overwritten."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from core.states import EventKind, JobState, Reason
from records.clock import database_time
from records.database import Database
from records.instances import queue_job
from records.models import ModelChoice
from records.tables import Classification, Disposition, Instance, Job, Report
from records.trail import add_event

PREFIX = "reanalysis"
LOW_PRIORITY = 100
_TOGETHER = 200
_WAITING = (JobState.QUEUED.value, JobState.RUNNING.value)
_ANSWERED = (JobState.DONE.value, JobState.NOT_DIAGNOSTIC.value)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which ECGs to judge again; the times are of their arrival, `until` excluded."""

    since: datetime | None = None
    until: datetime | None = None
    sop_instance_uids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """What became of the selected ECGs."""

    queued: int
    answered_by_it: int
    waiting: int
    superseded: int
    deleted: int


def queue_reanalysis(
    database: Database, selection: Selection, model: ModelChoice, actor: str, why: str, dry_run: bool = False
) -> Queued:
    """Queue what the model in service has not judged yet; safe to repeat. Raises DatabaseAway between two parts."""
    counts = dict.fromkeys(("queued", "answered_by_it", "waiting", "superseded", "deleted"), 0)
    after = 0
    while True:
        with database.writing() as session:
            now = database_time(session)
            rows = list(session.scalars(_selected(selection).where(Instance.id > after).limit(_TOGETHER)))
            for row in rows:
                fate = _fate(session, row, model)
                counts[fate] += 1
                if fate == "queued" and not dry_run:
                    _queue(session, row, model, actor, why, now)
        if not rows:
            return Queued(**counts)
        after = rows[-1].id


def _selected(selection: Selection) -> Select[Instance]:
    judged = select(Job.id).where(Job.ecg_id == Instance.id).exists()
    query = select(Instance).where(or_(Instance.disposition == Disposition.ACCEPTED.value, judged))
    if selection.since:
        query = query.where(Instance.received_at >= selection.since)
    if selection.until:
        query = query.where(Instance.received_at < selection.until)
    if selection.sop_instance_uids:
        query = query.where(Instance.sop_instance_uid.in_(selection.sop_instance_uids))
    return query.order_by(Instance.id)


def _fate(session: Session, row: Instance, model: ModelChoice) -> str:
    if row.file_deleted_at is not None:
        return "deleted"
    if session.scalar(select(Job.id).where(Job.ecg_id == row.id, Job.state.in_(_WAITING)).limit(1)) is not None:
        return "waiting"
    if _is_left_to_another(session, row.id):
        return "superseded"
    if _answer_by(session, row.id, model.weights_sha256, model.calibration_version) is not None:
        return "answered_by_it"
    return "queued"


def _is_left_to_another(session: Session, ecg_id: int) -> bool:
    """Whether another object of the same ECG is judged in its place."""
    query = select(Job.id).where(
        Job.ecg_id == ecg_id,
        Job.state == JobState.NOT_DIAGNOSTIC.value,
        Job.reason.startswith(Reason.SUPERSEDED.value),
    )
    return session.scalar(query.limit(1)) is not None


def _answer_by(session: Session, ecg_id: int, weights_sha256: str, calibration_version: str) -> int | None:
    """A job of an ECG that this model answered."""
    query = (
        select(Classification)
        .join(Job, Job.id == Classification.job_id)
        .where(
            Classification.ecg_id == ecg_id, Classification.weights_sha256 == weights_sha256, Job.state.in_(_ANSWERED)
        )
    )
    for said in session.scalars(query):
        if said.model.get("calibration_version") == calibration_version:
            return said.job_id
    return None


def _queue(session: Session, row: Instance, model: ModelChoice, actor: str, why: str, now: datetime) -> None:
    base = f"{PREFIX}:{model.weights_sha256[:12]}:{model.card_sha256[:12]}"
    earlier = session.scalars(select(Job.request).where(Job.ecg_id == row.id, Job.request.startswith(base))).all()
    job_id = queue_job(session, row, now, f"{base}:{len(earlier) + 1}", LOW_PRIORITY, stat=False)
    add_event(
        session,
        EventKind.REANALYSIS_REQUESTED,
        actor=actor,
        at=now,
        ecg_id=row.id,
        job_id=job_id,
        weights_sha256=model.weights_sha256,
        version=model.version,
        why=why,
    )


def is_superseded(database: Database, ecg_id: int, request: str, weights_sha256: str, calibration_version: str) -> bool:
    """Whether a re-analysis would only repeat what the same model has said: its model was replaced while it waited."""
    if not request.startswith(PREFIX):
        return False
    with database.reading() as session:
        return _answer_by(session, ecg_id, weights_sha256, calibration_version) is not None


@dataclass(frozen=True, slots=True)
class EarlierReport:
    """An SR of an earlier analysis, as a later one has to name it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    sr_class: str


def find_earlier_reports(database: Database, ecg_id: int, job_id: int) -> list[EarlierReport]:
    """SRs of the analysis that answered last before this job; one a class that was built. Empty for a first one."""
    with database.reading() as session:
        last = (
            select(Job.id)
            .join(Report, and_(Report.job_id == Job.id, Report.kind == "sr"))
            .where(Job.ecg_id == ecg_id, Job.id < job_id, Job.state.in_(_ANSWERED))
            .order_by(Job.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = (
            select(Report, Instance.study_instance_uid)
            .join(Instance, Instance.id == Report.ecg_id)
            .where(Report.job_id == last, Report.kind == "sr")
            .order_by(Report.sr_class)
        )
        return [
            EarlierReport(study, row.series_instance_uid, row.sop_class_uid, row.sop_instance_uid, row.sr_class)
            for row, study in session.execute(query)
        ]
