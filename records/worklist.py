"""The list of ECGs: newest first, urgent ones on top, paged by key."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.states import JobState
from core.values import Label
from records.clock import database_time
from records.database import Database
from records.reads import gravest
from records.tables import Classification, Delivery, FinalRead, Instance, Job

PAGE = 50
# An urgent ECG stays on top for a day, unless a physician has read it
_ON_TOP = timedelta(hours=24)
_MOST_ON_TOP = 50
_ESCAPE = "\\"


@dataclass(frozen=True, slots=True)
class Filters:
    """What to show; empty means everything. `*` and `?` in texts match as in PS3.4 C.2.2.2.4."""

    label: Label | None = None
    state: JobState | None = None
    since: datetime | None = None
    until: datetime | None = None
    calling_ae_title: str = ""
    patient_id: str = ""
    accession_number: str = ""


@dataclass(frozen=True, slots=True)
class WorklistRow:
    """An ECG in a line; `state` is None for one that was kept and not judged, as a conflict."""

    ecg_id: int
    sop_instance_uid: str
    received_at: datetime
    acquisition_datetime: str
    patient_id: str
    patient_name: str
    accession_number: str
    calling_ae_title: str
    disposition: str
    stat: bool
    on_top: bool
    state: str | None
    reason: str | None
    label: str | None
    probability: float | None
    thumbnail_frame: int | None
    deliveries: tuple[tuple[str, int], ...]
    final_label: str | None
    read: bool


@dataclass(frozen=True, slots=True)
class Worklist:
    """One page; `older` is the key with which the next page begins, None at the end."""

    rows: Sequence[WorklistRow]
    older: int | None


def list_worklist(database: Database, filters: Filters, before: int | None = None, limit: int = PAGE) -> Worklist:
    """The ECGs received before the key `before`; the first page begins with what is urgent and not yet read."""
    with database.reading() as session:
        top = _list_on_top(session, filters, database_time(session))
        urgent = {instance.id for instance, _job in top}
        query = _matching(filters).where(Instance.id.not_in(urgent)) if urgent else _matching(filters)
        if before is not None:
            query = query.where(Instance.id < before)
        found = session.execute(query.order_by(Instance.id.desc()).limit(limit + 1)).all()
        rest = [(row.Instance, row.Job) for row in found]
        shown = rest[:limit] if before is not None else [*top, *rest[:limit]]
        older = rest[limit - 1][0].id if len(rest) > limit else None
        return Worklist(_rows(session, shown, urgent), older)


def _latest_job() -> ColumnElement[bool]:
    other = select(func.max(Job.id)).where(Job.ecg_id == Instance.id).correlate(Instance).scalar_subquery()
    return Job.id == other


def _matching(filters: Filters) -> Select[Instance, Job | None]:
    query = select(Instance, Job).join(Job, _latest_job(), isouter=filters.label is None and filters.state is None)
    if filters.state is not None:
        query = query.where(Job.state == filters.state.value)
    if filters.label is not None:
        query = query.where(_has_label(filters.label))
    if filters.since is not None:
        query = query.where(Instance.received_at >= filters.since)
    if filters.until is not None:
        query = query.where(Instance.received_at < filters.until)
    texts = (Instance.calling_ae_title, Instance.patient_id, Instance.accession_number)
    wanted = (filters.calling_ae_title, filters.patient_id, filters.accession_number)
    return query.where(*(_like(column, text) for column, text in zip(texts, wanted, strict=True) if text))


def _has_label(label: Label) -> ColumnElement[bool]:
    return exists(select(Classification.id).where(Classification.job_id == Job.id, Classification.label == label.value))


def _like(column: InstrumentedAttribute[str], text: str) -> ColumnElement[bool]:
    if "*" not in text and "?" not in text:
        return column == text
    pattern = text.replace(_ESCAPE, _ESCAPE * 2).replace("%", r"\%").replace("_", r"\_")
    return column.like(pattern.replace("*", "%").replace("?", "_"), escape=_ESCAPE)


def _list_on_top(session: Session, filters: Filters, now: datetime) -> list[tuple[Instance, Job | None]]:
    suspected = and_(Job.state == JobState.DONE.value, _has_label(Label.MYOCARDIAL_INFARCTION))
    unread = ~exists(select(FinalRead.id).where(FinalRead.ecg_id == Instance.id))
    # Keys grow with the time of receipt: a border in keys lets the database walk them without a sort
    since = select(Instance.id).where(Instance.received_at >= now - _ON_TOP).order_by(Instance.received_at)
    first = session.scalar(since.limit(1))
    if first is None:
        return []
    found = session.execute(
        _matching(filters)
        .where(Instance.id >= first, or_(Instance.stat.is_(True), suspected), unread)
        .order_by(Instance.id.desc())
        .limit(_MOST_ON_TOP)
    )
    return [(row.Instance, row.Job) for row in found]


def _rows(session: Session, found: Sequence[tuple[Instance, Job | None]], urgent: Collection[int]) -> list[WorklistRow]:
    jobs = [job.id for _instance, job in found if job is not None]
    said = _said(session, jobs)
    sent = _sent(session, jobs)
    reads = _last_reads(session, [instance.id for instance, _job in found])
    return [
        _row(instance, job, said[job.id] if job else [], sent[job.id] if job else [], reads, instance.id in urgent)
        for instance, job in found
    ]


def _row(
    instance: Instance,
    job: Job | None,
    said: Sequence[Classification],
    sent: Sequence[tuple[str, int]],
    reads: dict[int, FinalRead],
    on_top: bool,
) -> WorklistRow:
    label = gravest([one.label for one in said])
    read = reads.get(instance.id)
    return WorklistRow(
        ecg_id=instance.id,
        sop_instance_uid=instance.sop_instance_uid,
        received_at=instance.received_at,
        acquisition_datetime=instance.acquisition_datetime,
        patient_id=instance.patient_id,
        patient_name=instance.patient_name,
        accession_number=instance.accession_number,
        calling_ae_title=instance.calling_ae_title,
        disposition=instance.disposition,
        stat=instance.stat,
        on_top=on_top,
        state=job.state if job else None,
        reason=job.reason if job else None,
        label=label,
        probability=max((_probability(one, label) for one in said if one.label == label and label), default=None),
        thumbnail_frame=next((one.frame for one in said if one.thumbnail_sha256), None),
        deliveries=tuple(sent),
        final_label=read.label if read else None,
        read=read is not None,
    )


def _probability(said: Classification, label: str | None) -> float:
    return float(getattr(said, f"probability_{label}") or 0.0)


def _said(session: Session, jobs: Sequence[int]) -> dict[int, list[Classification]]:
    said: dict[int, list[Classification]] = defaultdict(list)
    query = select(Classification).where(Classification.job_id.in_(jobs)).order_by(Classification.frame)
    for row in session.scalars(query):
        said[row.job_id].append(row)
    return said


def _sent(session: Session, jobs: Sequence[int]) -> dict[int, list[tuple[str, int]]]:
    sent: dict[int, list[tuple[str, int]]] = defaultdict(list)
    query = select(Delivery.job_id, Delivery.state, func.count()).where(Delivery.job_id.in_(jobs))
    for job_id, state, number in session.execute(query.group_by(Delivery.job_id, Delivery.state)):
        sent[job_id].append((state, int(number)))
    return sent


def _last_reads(session: Session, ecgs: Sequence[int]) -> dict[int, FinalRead]:
    query = select(FinalRead).where(FinalRead.ecg_id.in_(ecgs)).order_by(FinalRead.id)
    return {row.ecg_id: row for row in session.scalars(query)}


def list_calling_ae_titles(database: Database, limit: int = 200) -> list[str]:
    """Every AE title that has sent something, found by skipping along the index: quick however many ECGs there are."""
    titles: list[str] = []
    with database.reading() as session:
        while len(titles) < limit:
            query = select(func.min(Instance.calling_ae_title))
            if titles:
                query = query.where(Instance.calling_ae_title > titles[-1])
            title = session.scalar(query)
            if title is None:
                break
            titles.append(title)
    return titles
