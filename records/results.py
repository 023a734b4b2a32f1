"""What a model said, and the reports made of it: recorded together with the end of the job."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.states import DeliveryState, EventKind, JobState, Reason, ReportKind
from core.values import Box, Label, ModelIdentity
from records.clock import database_time
from records.database import Database
from records.jobs import ClaimedJob, end_job
from records.tables import Classification, Delivery, Report
from records.trail import add_event

_NAMES_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What was said about one picture; `frame` counts from 1. The sha256 name files in the results folder."""

    frame: int
    label: Label | None
    reason: Reason | None
    probabilities: tuple[float, float, float] | None
    quality: float | None
    area: Box
    input_sha256: str
    picture_sha256: str | None = None
    thumbnail_sha256: str | None = None
    heat_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class StoredReport:
    """An SR or heat map whose bytes are safe in the results folder; an SR has frame 0 and its `sr_class`."""

    kind: ReportKind
    frame: int
    sr_class: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole outcome of one job."""

    state: JobState
    reason: str | None
    frames: Sequence[FrameResult]
    reports: Sequence[StoredReport]
    model: ModelIdentity
    code_version: str
    recorded_at: datetime
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Route:
    """Where reports of a kind go; an empty `sr_class` is chosen when the destination is first reached."""

    destination: str
    kinds: frozenset[ReportKind]
    sr_class: str = ""


def record_answer(database: Database, job: ClaimedJob, answer: Answer, routes: Sequence[Route]) -> None:
    """Record classifications, reports, deliveries and the end of the job in one transaction.

    Raises LostLease when the job has another owner by now, and DatabaseAway; nothing is recorded then.
    """
    with database.writing() as session:
        now = database_time(session)
        end_job(session, job, answer.state, answer.reason, now)
        for frame in answer.frames:
            session.add(_classification(job, frame, answer))
        reports = [_report(job, stored, answer) for stored in answer.reports]
        session.add_all(reports)
        session.flush()
        for route in routes:
            session.add_all(_deliveries(job, reports, route, now))
        add_event(
            session,
            EventKind.JOB_FINISHED,
            actor="worker",
            at=now,
            ecg_id=job.ecg_id,
            job_id=job.job_id,
            attempt=job.attempt,
            state=answer.state.value,
            reason=answer.reason,
            labels=[frame.label.value if frame.label else None for frame in answer.frames],
            probabilities=[frame.probabilities for frame in answer.frames],
            weights_sha256=answer.model.weights_sha256,
            input_sha256=[frame.input_sha256 for frame in answer.frames],
            reports=[stored.sop_instance_uid for stored in answer.reports],
            association_id=job.association_id,
        )


def _classification(job: ClaimedJob, frame: FrameResult, answer: Answer) -> Classification:
    normal, abnormal, infarction = frame.probabilities or (None, None, None)
    return Classification(
        job_id=job.job_id,
        ecg_id=job.ecg_id,
        frame=frame.frame,
        label=frame.label.value if frame.label else None,
        reason=frame.reason.value if frame.reason else None,
        probability_normal=normal,
        probability_abnormal_heartbeat=abnormal,
        probability_myocardial_infarction=infarction,
        quality=frame.quality,
        model=describe_model(answer),
        weights_sha256=answer.model.weights_sha256,
        input_sha256=frame.input_sha256,
        picture_sha256=frame.picture_sha256,
        thumbnail_sha256=frame.thumbnail_sha256,
        heat_sha256=frame.heat_sha256,
        area=asdict(frame.area),
        recorded_at=answer.recorded_at,
    )


def describe_model(answer: Answer) -> dict[str, Any]:
    """Everything an inspector needs to find the model again, as JSON."""
    described = asdict(answer.model)
    return described | {"code_version": answer.code_version, "timings_ms": dict(answer.timings_ms)}


def _report(job: ClaimedJob, stored: StoredReport, answer: Answer) -> Report:
    fields = asdict(stored) | {"kind": stored.kind.value}
    return Report(job_id=job.job_id, ecg_id=job.ecg_id, recorded_at=answer.recorded_at, **fields)


def _deliveries(job: ClaimedJob, reports: Sequence[Report], route: Route, now: datetime) -> list[Delivery]:
    chosen: dict[tuple[str, int], Report | None] = {}
    for report in reports:
        if ReportKind(report.kind) not in route.kinds:
            continue
        key = (report.kind, report.frame)
        if report.kind == ReportKind.HEATMAP or report.sr_class == route.sr_class:
            chosen[key] = report
        else:
            chosen.setdefault(key, None)
    return [
        Delivery(
            job_id=job.job_id,
            ecg_id=job.ecg_id,
            destination=route.destination,
            kind=kind,
            frame=frame,
            report_id=report.id if report else None,
            state=DeliveryState.PREPARED.value,
            stat=job.stat,
            not_before=now,
            created_at=now,
        )
        for (kind, frame), report in chosen.items()
    ]


def find_known_results(database: Database, names: Sequence[str]) -> set[str]:
    """Which of these SHA-256 a row names."""
    known: set[str] = set()
    columns = (
        Report.sha256,
        Classification.picture_sha256,
        Classification.thumbnail_sha256,
        Classification.heat_sha256,
    )
    with database.reading() as session:
        for start in range(0, len(names), _NAMES_TOGETHER):
            some = names[start : start + _NAMES_TOGETHER]
            for column in columns:
                known.update(filter(None, session.scalars(select(column).where(column.in_(some)))))
    return known


def find_reports(session: Session, job_id: int) -> list[Report]:
    """Reports of a job, SR first."""
    rows = session.scalars(select(Report).where(Report.job_id == job_id).order_by(Report.kind.desc(), Report.frame))
    return list(rows)
