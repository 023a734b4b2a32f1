"""Final reads: what a physician says of an ECG, recorded beside the model's answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import Rejected
from core.states import EventKind, JobState
from core.values import Label
from records.clock import database_time
from records.database import Database
from records.tables import Classification, FinalRead, Job
from records.trail import add_event

_PAGE = 1000
# The finding that a person must hear of first comes first
SEVERITY: tuple[Label, ...] = (Label.MYOCARDIAL_INFARCTION, Label.ABNORMAL_HEARTBEAT, Label.NORMAL)


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A picture with both opinions, without anything that names a patient, a study or a person."""

    picture_sha256: str
    frame: int
    model_label: str | None
    final_label: str | None
    agrees: bool
    model_version: str
    weights_sha256: str
    probability_normal: float | None
    probability_abnormal_heartbeat: float | None
    probability_myocardial_infarction: float | None


def gravest(labels: Sequence[str | None]) -> str | None:
    """The label of an ECG of several pictures: the gravest one that any picture got."""
    return next((label.value for label in SEVERITY if label.value in labels), None)


def record_read(database: Database, job_id: int, label: Label | None, comment: str, reader: str) -> FinalRead:
    """Record a final read beside the answer of a job. Raises Rejected when that job has no answer yet."""
    with database.writing() as session:
        now = database_time(session)
        job = session.get(Job, job_id)
        if job is None or job.state not in (JobState.DONE.value, JobState.NOT_DIAGNOSTIC.value):
            raise Rejected("there is no answer yet that could be agreed with; wait until the ECG is judged")
        model_label = _model_label(session, job_id)
        row = FinalRead(
            ecg_id=job.ecg_id,
            job_id=job_id,
            label=label.value if label else None,
            model_label=model_label,
            agrees=(label.value if label else None) == model_label,
            comment=comment,
            reader=reader,
            recorded_at=now,
        )
        session.add(row)
        add_event(
            session,
            EventKind.FINAL_READ_RECORDED,
            actor=reader,
            at=now,
            ecg_id=job.ecg_id,
            job_id=job_id,
            label=row.label,
            model_label=model_label,
            agrees=row.agrees,
        )
        return row


def _model_label(session: Session, job_id: int) -> str | None:
    return gravest(list(session.scalars(select(Classification.label).where(Classification.job_id == job_id))))


def list_training_rows(database: Database) -> Iterator[TrainingRow]:
    """Every picture whose ECG was read, by the latest read of each ECG."""
    after = 0
    while True:
        with database.reading() as session:
            last = select(func.max(FinalRead.id)).group_by(FinalRead.ecg_id)
            found = session.execute(
                select(FinalRead, Classification)
                .join(Classification, Classification.job_id == FinalRead.job_id)
                .where(FinalRead.id.in_(last), Classification.picture_sha256.is_not(None), Classification.id > after)
                .order_by(Classification.id)
                .limit(_PAGE)
            ).all()
        if not found:
            return
        for read, said in found:
            yield _training_row(read, said)
        after = found[-1].Classification.id


def _training_row(read: FinalRead, said: Classification) -> TrainingRow:
    return TrainingRow(
        picture_sha256=said.picture_sha256 or "",
        frame=said.frame,
        model_label=said.label,
        final_label=read.label,
        agrees=read.agrees,
        model_version=str(said.model.get("version", "")),
        weights_sha256=said.weights_sha256,
        probability_normal=said.probability_normal,
        probability_abnormal_heartbeat=said.probability_abnormal_heartbeat,
        probability_myocardial_infarction=said.probability_myocardial_infarction,
    )


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many ECGs got which label by the model and by their latest final read."""

    model_label: str | None
    final_label: str | None
    count: int


def count_agreement(database: Database, since: datetime | None = None) -> list[Agreement]:
    """The confusion of model and physicians, by the latest read of each ECG."""
    with database.reading() as session:
        last = select(func.max(FinalRead.id)).group_by(FinalRead.ecg_id)
        query = select(FinalRead.model_label, FinalRead.label, func.count()).where(FinalRead.id.in_(last))
        if since is not None:
            query = query.where(FinalRead.recorded_at >= since)
        rows = session.execute(query.group_by(FinalRead.model_label, FinalRead.label))
        return [Agreement(model, final, int(number)) for model, final, number in rows]
