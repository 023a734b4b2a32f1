"""Looks at the records for people: counts, lists, one ECG with all that happened to it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from core.states import DeliveryState, JobState, ReportKind
from records.database import Database
from records.tables import Classification, Delivery, Disposition, Instance, Job, Report


def count_states(database: Database) -> dict[str, dict[str, int]]:
    """How many instances, jobs and deliveries are in each state."""
    columns = {"instances": Instance.disposition, "jobs": Job.state, "deliveries": Delivery.state}
    counts: dict[str, dict[str, int]] = {}
    with database.reading() as session:
        for what, column in columns.items():
            rows = session.execute(select(column, func.count()).group_by(column).order_by(column))
            counts[what] = {str(state): int(number) for state, number in rows}
    return counts


@dataclass(frozen=True, slots=True)
class EcgSummary:
    """One ECG in a line: what came, what was said of it, and where the reports went."""

    ecg_id: int
    sop_instance_uid: str
    received_at: datetime
    state: JobState
    reason: str | None
    labels: tuple[str | None, ...]
    probabilities: tuple[tuple[float, float, float] | None, ...]
    reports: tuple[tuple[str, str, str], ...]
    """Kind, SOP Instance UID and delivery state of each report that goes to a destination."""
    sr_accepted_at: datetime | None

    @property
    def delivered(self) -> bool:
        """Every report was accepted by its destination, and there is one at least."""
        there = {DeliveryState.SENT.value, DeliveryState.COMMITTED.value}
        return bool(self.reports) and all(state in there for _kind, _uid, state in self.reports)

    @property
    def milliseconds(self) -> float | None:
        """From the last byte of the ECG to the PACS's answer to the SR."""
        if self.sr_accepted_at is None:
            return None
        return (self.sr_accepted_at - self.received_at).total_seconds() * 1000


def find_summary(database: Database, sop_instance_uid: str) -> EcgSummary | None:
    """What happened to the accepted instance with this UID, judged by its latest job; None when it is unknown."""
    with database.reading() as session:
        found = session.execute(
            select(Instance, Job)
            .join(Job, Job.ecg_id == Instance.id)
            .where(Instance.sop_instance_uid == sop_instance_uid, Instance.disposition == Disposition.ACCEPTED.value)
            .order_by(Job.id.desc())
            .limit(1)
        ).first()
        if found is None:
            return None
        instance, job = found.Instance, found.Job
        said = session.scalars(
            select(Classification).where(Classification.job_id == job.id).order_by(Classification.frame)
        ).all()
        sent = session.execute(
            select(Delivery, Report.sop_instance_uid)
            .join(Report, Report.id == Delivery.report_id, isouter=True)
            .where(Delivery.job_id == job.id)
            .order_by(Delivery.id)
        ).all()
        return EcgSummary(
            ecg_id=instance.id,
            sop_instance_uid=instance.sop_instance_uid,
            received_at=instance.received_at,
            state=JobState(job.state),
            reason=job.reason,
            labels=tuple(row.label for row in said),
            probabilities=tuple(_probabilities(row) for row in said),
            reports=tuple((row.Delivery.kind, row.sop_instance_uid or "", row.Delivery.state) for row in sent),
            sr_accepted_at=next((row.Delivery.sent_at for row in sent if row.Delivery.kind == ReportKind.SR), None),
        )


def _probabilities(row: Classification) -> tuple[float, float, float] | None:
    normal, abnormal = row.probability_normal, row.probability_abnormal_heartbeat
    infarction = row.probability_myocardial_infarction
    if normal is None or abnormal is None or infarction is None:
        return None
    return normal, abnormal, infarction
