"""Figures of the node: by day for the Model page, now for the System page and for metrics. Every query is bounded."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.states import DeliveryState, JobState
from records.clock import database_time
from records.database import Database
from records.tables import Classification, Delivery, DestinationState, Instance, Job, UtcTime

_SAMPLE = 500


@dataclass(frozen=True, slots=True)
class DayFigures:
    """What the model said in a stretch of time: pictures by label and by reason, seconds from receipt to answer."""

    since: datetime
    labels: Mapping[str, int]
    reasons: Mapping[str, int]
    seconds: Sequence[float]

    @property
    def pictures(self) -> int:
        return sum(self.labels.values()) + sum(self.reasons.values())


def list_day_figures(database: Database, borders: Sequence[datetime]) -> list[DayFigures]:
    """Figures between neighbouring borders; latency from the last 500 answers of each stretch."""
    with database.reading() as session:
        return [_day(session, since, until) for since, until in pairwise(borders)]


def _day(session: Session, since: datetime, until: datetime) -> DayFigures:
    within = (Classification.recorded_at >= since, Classification.recorded_at < until)
    labels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    counted = select(Classification.label, Classification.reason, func.count()).where(*within)
    for label, reason, number in session.execute(counted.group_by(Classification.label, Classification.reason)):
        if label:
            labels[label] += int(number)
        else:
            reasons[reason or ""] += int(number)
    times = session.execute(
        select(Job.created_at, Job.ended_at)
        .join(Classification, Classification.job_id == Job.id)
        .where(*within, Job.ended_at.is_not(None))
        .order_by(Classification.recorded_at.desc())
        .limit(_SAMPLE)
    )
    return DayFigures(since, labels, reasons, [(end - begin).total_seconds() for begin, end in times if end])


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which a share of the values lies, nearest rank; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


@dataclass(frozen=True, slots=True)
class ModelInUse:
    """The identity that answers were recorded with, and how many pictures it judged."""

    described: Mapping[str, Any]
    weights_sha256: str
    first_used: datetime
    last_used: datetime
    pictures: int


def list_models_in_use(database: Database) -> list[ModelInUse]:
    """Every model that ever answered, the latest first."""
    with database.reading() as session:
        rows = session.execute(
            select(
                Classification.weights_sha256,
                func.min(Classification.recorded_at),
                func.max(Classification.recorded_at),
                func.count(),
                func.max(Classification.id),
            )
            .group_by(Classification.weights_sha256)
            .order_by(func.max(Classification.id).desc())
        ).all()
        return [
            ModelInUse(session.get_one(Classification, last_id).model, sha256, first, last, int(number))
            for sha256, first, last, number, last_id in rows
        ]


@dataclass(frozen=True, slots=True)
class DestinationFigures:
    """A destination as it is known now."""

    name: str
    paused: bool
    failures: int
    last_error: str | None
    next_try_at: datetime | None
    last_contact_at: datetime | None
    states: Mapping[str, int]
    statuses: Mapping[int, int]
    oldest_waiting_s: float | None


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """The node now; ages in seconds by the database's clock."""

    at: datetime
    received: Mapping[str, int]
    jobs: Mapping[str, int]
    oldest_queued_s: float | None
    oldest_running_s: float | None
    destinations: Sequence[DestinationFigures]
    step_seconds: Mapping[str, Sequence[float]]
    batch_sizes: Sequence[int]


def find_node_figures(database: Database, names: Sequence[str] = ()) -> NodeFigures:
    """Everything that is counted; `names` are the configured destinations, known even before the first delivery."""
    with database.reading() as session:
        now = database_time(session)
        return NodeFigures(
            at=now,
            received=_counted(session, Instance.disposition),
            jobs=_counted(session, Job.state),
            oldest_queued_s=_age(session, now, Job.created_at, Job.state == JobState.QUEUED.value),
            oldest_running_s=_age(session, now, Job.started_at, Job.state == JobState.RUNNING.value),
            destinations=_destinations(session, now, names),
            step_seconds=_steps(session),
            batch_sizes=_batches(session),
        )


def _counted(session: Session, column: Any) -> dict[str, int]:
    return {str(word): int(number) for word, number in session.execute(select(column, func.count()).group_by(column))}


def _age(session: Session, now: datetime, column: Any, *where: Any) -> float | None:
    oldest = session.scalar(select(func.min(column)).where(*where))
    return max(0.0, (now - oldest).total_seconds()) if oldest else None


def _destinations(session: Session, now: datetime, names: Sequence[str]) -> list[DestinationFigures]:
    states: dict[str, Counter[str]] = {name: Counter() for name in names}
    statuses: dict[str, Counter[int]] = defaultdict(Counter)
    columns = (Delivery.destination, Delivery.state, Delivery.last_status)
    for name, state, status, number in session.execute(select(*columns, func.count()).group_by(*columns)):
        states.setdefault(name, Counter())[state] += int(number)
        if status is not None:
            statuses[name][int(status)] += int(number)
    known = {row.name: row for row in session.scalars(select(DestinationState))}
    return [_destination(session, now, name, states[name], statuses[name], known.get(name)) for name in sorted(states)]


def _destination(
    session: Session,
    now: datetime,
    name: str,
    states: Mapping[str, int],
    statuses: Mapping[int, int],
    row: DestinationState | None,
) -> DestinationFigures:
    mine = Delivery.destination == name
    waiting = _age(session, now, Delivery.created_at, mine, Delivery.state == DeliveryState.PREPARED.value)
    return DestinationFigures(
        name=name,
        paused=bool(row and row.paused),
        failures=row.failures if row else 0,
        last_error=row.last_error if row else None,
        next_try_at=row.not_before if row and row.not_before > now else None,
        last_contact_at=_last_contact(session, name),
        states=states,
        statuses=statuses,
        oldest_waiting_s=waiting,
    )


def _last_contact(session: Session, name: str) -> datetime | None:
    """When the destination last answered something, with whatever status."""
    answered = (Delivery.destination == name, Delivery.last_status.is_not(None))
    at = func.coalesce(Delivery.sent_at, Delivery.ended_at, type_=UtcTime())
    return session.scalar(select(at).where(*answered).order_by(Delivery.id.desc()).limit(1))


def _steps(session: Session) -> dict[str, list[float]]:
    """Seconds of each step over the last answers: waiting, decoding, classifying, reporting, sending."""
    steps: dict[str, list[float]] = {"wait": [], "decode": [], "classify_batch": [], "report": [], "send": []}
    rows = session.execute(
        select(Classification.model, Job.created_at, Job.started_at)
        .join(Job, Job.id == Classification.job_id)
        .order_by(Classification.id.desc())
        .limit(_SAMPLE)
    )
    for model, created, started in rows:
        for step, milliseconds in (model.get("timings_ms") or {}).items():
            steps.setdefault(str(step), []).append(float(milliseconds) / 1000)
        if started is not None:
            steps["wait"].append(max(0.0, (started - created).total_seconds()))
    sent = session.execute(
        select(Delivery.created_at, Delivery.sent_at)
        .where(Delivery.sent_at.is_not(None))
        .order_by(Delivery.id.desc())
        .limit(_SAMPLE)
    )
    steps["send"] = [(there - made).total_seconds() for made, there in sent if there]
    return steps


def _batches(session: Session) -> list[int]:
    """How many ECGs were claimed together, over the last jobs: one claim gives all its jobs the same start."""
    started = session.scalars(
        select(Job.started_at).where(Job.started_at.is_not(None)).order_by(Job.id.desc()).limit(_SAMPLE)
    )
    return sorted(Counter(started).values())
