"""What in the records a person has to be told of: ECGs without an answer, suspected infarctions, stuck results."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session, aliased

from core.states import AlertKind, AlertState, DeliveryState, JobState
from records.commitments import OLDEST_ASKED
from records.tables import Alert, Classification, Delivery, DestinationState, Disposition, Instance, Job

FIRST_REQUEST = "first"
# What ended before the last look is not looked at again; a transaction that was open then is over after this long
_MARGIN = timedelta(hours=1)
_AT_ONCE = 500
_ANSWERED = (JobState.DONE.value, JobState.NOT_DIAGNOSTIC.value)
_WAITING = (JobState.QUEUED.value, JobState.RUNNING.value)


@dataclass(frozen=True, slots=True)
class AlertRules:
    """When to raise an alert."""

    unanswered_s: float
    infarction_probability: float
    undelivered_s: float
    destinations: Sequence[str]
    reanalysis: bool = False
    committing: frozenset[str] = frozenset()
    """Destinations that are asked for storage commitment: there a result that was only taken is not delivered yet."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason for an alert; `cause` is unique for ever, `details` hold no patient data."""

    kind: AlertKind
    cause: str
    details: Mapping[str, Any]
    ecg_id: int | None = None
    destination: str | None = None


def find_causes(session: Session, rules: AlertRules, now: datetime, until: datetime) -> list[Cause]:
    """Causes that no alert was raised for yet; `until` is when the records were last looked through."""
    since = until - _MARGIN
    found = list(_infarctions(session, rules, since))
    found += _unanswered(session, rules, now, since)
    for name in rules.destinations:
        found += _undelivered(session, name, rules, now)
    return found


def _not_raised(kind: AlertKind) -> ColumnElement[bool]:
    return ~select(Alert.id).where(Alert.ecg_id == Instance.id, Alert.kind == kind.value).exists()


def _infarctions(session: Session, rules: AlertRules, since: datetime) -> Iterator[Cause]:
    query = (
        select(Classification)
        .join(Job, Job.id == Classification.job_id)
        .join(Instance, Instance.id == Job.ecg_id)
        .where(
            Job.ended_at >= since,
            Classification.probability_myocardial_infarction >= rules.infarction_probability,
            _not_raised(AlertKind.SUSPECTED_INFARCTION),
        )
        .order_by(Classification.probability_myocardial_infarction.desc())
        .limit(_AT_ONCE)
    )
    if not rules.reanalysis:
        query = query.where(Job.request == FIRST_REQUEST)
    seen: set[int] = set()
    for row in session.scalars(query):
        if row.ecg_id not in seen:
            seen.add(row.ecg_id)
            yield _infarction(row, rules)


def _infarction(row: Classification, rules: AlertRules) -> Cause:
    details = {
        "probability": row.probability_myocardial_infarction,
        "threshold": rules.infarction_probability,
        "label": row.label,
        "frame": row.frame,
        "model_version": row.model.get("version", ""),
        "weights_sha256": row.weights_sha256,
    }
    return Cause(AlertKind.SUSPECTED_INFARCTION, f"infarction:ecg:{row.ecg_id}", details, row.ecg_id)


def _unanswered(session: Session, rules: AlertRules, now: datetime, since: datetime) -> list[Cause]:
    late = now - timedelta(seconds=rules.unanswered_s)
    other = aliased(Job)
    answered = select(other.id).where(other.ecg_id == Instance.id, other.state.in_(_ANSWERED)).exists()
    waits = and_(Job.state.in_(_WAITING), Instance.received_at <= late)
    given_up = and_(Job.state == JobState.FAILED.value, Job.ended_at >= since)
    jobs = session.execute(
        select(Instance, Job)
        .join(Job, Job.ecg_id == Instance.id)
        .where(or_(waits, given_up), ~answered, _not_raised(AlertKind.UNANSWERED))
        .order_by(Job.id)
        .limit(_AT_ONCE)
    )
    causes = {row.Instance.id: _no_answer(row.Instance, _why_job(row.Job, row.Instance, now)) for row in jobs}
    # Kept under a UID that was there with other content: no job, until a person releases it
    undecided = session.scalars(
        select(Instance)
        .where(
            Instance.disposition == Disposition.CONFLICT.value,
            Instance.received_at <= late,
            Instance.received_at >= since - timedelta(seconds=rules.unanswered_s),
            ~select(Job.id).where(Job.ecg_id == Instance.id).exists(),
            _not_raised(AlertKind.UNANSWERED),
        )
        .limit(_AT_ONCE)
    )
    why = "it came with the SOP Instance UID of another ECG, and a person must decide"
    causes.update({ecg.id: _no_answer(ecg, why) for ecg in undecided})
    return list(causes.values())


def _no_answer(ecg: Instance, why: str) -> Cause:
    return Cause(AlertKind.UNANSWERED, f"unanswered:ecg:{ecg.id}", {"why": why}, ecg.id)


def _why_job(job: Job, ecg: Instance, now: datetime) -> str:
    if job.state == JobState.FAILED.value:
        return f"judging failed ({job.reason})"
    waited = (now - ecg.received_at).total_seconds()
    return f"its job is {job.state} {waited:.0f} s after it was received"


def _undelivered(session: Session, name: str, rules: AlertRules, now: datetime) -> Iterator[Cause]:
    """One alert a destination at a time: a PACS that is away must not raise one an ECG."""
    last = session.scalar(
        select(Alert)
        .where(Alert.kind == AlertKind.UNDELIVERED.value, Alert.destination == name)
        .order_by(Alert.id.desc())
        .limit(1)
    )
    if last is not None and last.state == AlertState.RAISED.value:
        return
    stuck = _stuck(session, name, rules, now, last.raised_at if last else None)
    if stuck is not None:
        delivery, why = stuck
        cause = f"undelivered:{name}:{delivery.id}:{delivery.attempt}"
        yield Cause(AlertKind.UNDELIVERED, cause, {"destination": name, "why": why}, destination=name)


def _stuck(
    session: Session, name: str, rules: AlertRules, now: datetime, last: datetime | None
) -> tuple[Delivery, str] | None:
    mine = (Delivery.destination == name,)
    refused = select(Delivery).where(*mine, Delivery.state == DeliveryState.FAILED.value)
    if last is not None:
        refused = refused.where(Delivery.ended_at > last)
    row = session.scalar(refused.order_by(Delivery.id.desc()).limit(1))
    if row is not None:
        return row, f"one was refused for good ({row.last_error})"
    # After a person has looked, the same outage is told of again when as long has passed once more
    late = timedelta(seconds=rules.undelivered_s)
    if last is not None and last > now - late:
        return None
    waiting = select(Delivery).where(
        *mine, Delivery.state == DeliveryState.PREPARED.value, Delivery.created_at <= now - late
    )
    row = session.scalar(waiting.order_by(Delivery.id).limit(1))
    if row is None:
        return _uncommitted(session, name, now, late) if name in rules.committing else None
    error = session.scalar(select(DestinationState.last_error).where(DestinationState.name == name)) or row.last_error
    return row, f"the oldest waits since {row.created_at:%Y-%m-%d %H:%M} UTC ({error or 'not tried yet'})"


def _uncommitted(session: Session, name: str, now: datetime, late: timedelta) -> tuple[Delivery, str] | None:
    query = select(Delivery).where(
        Delivery.destination == name,
        Delivery.state == DeliveryState.SENT.value,
        Delivery.sent_at.between(now - OLDEST_ASKED, now - late),
    )
    row = session.scalar(query.order_by(Delivery.id).limit(1))
    if row is None or row.sent_at is None:
        return None
    return row, f"one was taken at {row.sent_at:%Y-%m-%d %H:%M} UTC, and storage commitment is still outstanding"
