"""One ECG with everything that happened to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from records.database import Database
from records.reads import gravest
from records.tables import Classification, Delivery, FinalRead, Instance, Job, Report, TrailEvent

_MOST_EARLIER = 20
_MOST_EVENTS = 500


@dataclass(frozen=True, slots=True)
class JobWithAnswer:
    """One analysis: what was said of each picture, the reports made of it and where they went."""

    job: Job
    said: Sequence[Classification]
    reports: Sequence[Report]
    deliveries: Sequence[Delivery]

    @property
    def label(self) -> str | None:
        return gravest([one.label for one in self.said])


@dataclass(frozen=True, slots=True)
class EarlierEcg:
    """Another ECG of the same patient."""

    instance: Instance
    state: str | None
    label: str | None


@dataclass(frozen=True, slots=True)
class OneEcg:
    """An instance with its analyses (newest first), final reads, relatives and trail.

    `related` came under the same SOP Instance UID or in the same series; `earlier` belongs to the same patient ID.
    """

    instance: Instance
    jobs: Sequence[JobWithAnswer]
    reads: Sequence[FinalRead]
    related: Sequence[Instance]
    earlier: Sequence[EarlierEcg]
    trail: Sequence[TrailEvent]

    @property
    def latest(self) -> JobWithAnswer | None:
        return self.jobs[0] if self.jobs else None


def find_ecg(database: Database, ecg_id: int) -> OneEcg | None:
    """Everything that is known of an ECG; None when there is none with this number."""
    with database.reading() as session:
        instance = session.get(Instance, ecg_id)
        if instance is None:
            return None
        return OneEcg(
            instance=instance,
            jobs=_jobs(session, ecg_id),
            reads=session.scalars(
                select(FinalRead).where(FinalRead.ecg_id == ecg_id).order_by(FinalRead.id.desc())
            ).all(),
            related=_related(session, instance),
            earlier=_earlier(session, instance),
            trail=session.scalars(
                select(TrailEvent).where(TrailEvent.ecg_id == ecg_id).order_by(TrailEvent.seq).limit(_MOST_EVENTS)
            ).all(),
        )


def find_ecg_id(database: Database, word: str) -> int | None:
    """The number of an ECG by its SOP Instance UID (the accepted one first) or by the number itself."""
    with database.reading() as session:
        found = session.scalars(
            select(Instance.id).where(Instance.sop_instance_uid == word).order_by(Instance.disposition, Instance.id)
        ).first()
        if found is None and word.isascii() and word.isdigit() and len(word) < 19:
            found = session.scalar(select(Instance.id).where(Instance.id == int(word)))
        return found


def _jobs(session: Session, ecg_id: int) -> list[JobWithAnswer]:
    jobs = session.scalars(select(Job).where(Job.ecg_id == ecg_id).order_by(Job.id.desc())).all()
    said = session.scalars(
        select(Classification).where(Classification.ecg_id == ecg_id).order_by(Classification.frame)
    ).all()
    reports = session.scalars(select(Report).where(Report.ecg_id == ecg_id).order_by(Report.kind.desc())).all()
    sent = session.scalars(select(Delivery).where(Delivery.ecg_id == ecg_id).order_by(Delivery.id)).all()
    return [
        JobWithAnswer(
            job,
            [one for one in said if one.job_id == job.id],
            [one for one in reports if one.job_id == job.id],
            [one for one in sent if one.job_id == job.id],
        )
        for job in jobs
    ]


def _related(session: Session, instance: Instance) -> list[Instance]:
    same = or_(
        Instance.sop_instance_uid == instance.sop_instance_uid,
        Instance.study_instance_uid == instance.study_instance_uid,
    )
    query = select(Instance).where(same, Instance.id != instance.id).order_by(Instance.id.desc())
    return list(session.scalars(query.limit(_MOST_EARLIER)))


def _earlier(session: Session, instance: Instance) -> list[EarlierEcg]:
    if not instance.patient_id:
        return []  # ECGs without a patient ID belong to nobody in particular
    query = select(Instance).where(Instance.patient_id == instance.patient_id, Instance.id < instance.id)
    rows = session.scalars(query.order_by(Instance.id.desc()).limit(_MOST_EARLIER)).all()
    return [_with_label(session, row) for row in rows]


def _with_label(session: Session, row: Instance) -> EarlierEcg:
    job = session.scalars(select(Job).where(Job.ecg_id == row.id).order_by(Job.id.desc()).limit(1)).first()
    if job is None:
        return EarlierEcg(row, None, None)
    labels = session.scalars(select(Classification.label).where(Classification.job_id == job.id)).all()
    return EarlierEcg(row, job.state, gravest(labels))


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """SHA-256 of the files that show one picture of an ECG; None where there is no such file."""

    picture: str | None
    thumbnail: str | None
    heat: str | None


def find_picture(database: Database, ecg_id: int, job_id: int, frame: int) -> StoredPicture | None:
    """The stored files of a picture; None when the ECG has no such picture."""
    with database.reading() as session:
        row = session.scalars(
            select(Classification).where(
                Classification.ecg_id == ecg_id, Classification.job_id == job_id, Classification.frame == frame
            )
        ).first()
        return StoredPicture(row.picture_sha256, row.thumbnail_sha256, row.heat_sha256) if row else None


def find_thumbnail(database: Database, ecg_id: int) -> str | None:
    """SHA-256 of the first thumbnail of an ECG's latest analysis."""
    with database.reading() as session:
        return session.scalars(
            select(Classification.thumbnail_sha256)
            .where(Classification.ecg_id == ecg_id, Classification.thumbnail_sha256.is_not(None))
            .order_by(Classification.job_id.desc(), Classification.frame)
            .limit(1)
        ).first()


def find_report(database: Database, ecg_id: int, report_id: int) -> Report | None:
    """A report of an ECG; None when the ECG has no such report."""
    with database.reading() as session:
        row = session.get(Report, report_id)
        return row if row is not None and row.ecg_id == ecg_id else None
