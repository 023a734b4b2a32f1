"""Alerts: found in the records, raised once, kept until a person acknowledges them."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, Select, func, select, update
from sqlalchemy.orm import Session

from core.alert_texts import alert_text
from core.states import AlertKind, AlertState, EventKind, JobState, NotificationState
from records.alert_causes import AlertRules, Cause, find_causes
from records.clock import database_time
from records.database import Database
from records.tables import Alert, AlertScan, Instance, Job, Notification
from records.trail import add_event

_NOTE_SCAN_EVERY = timedelta(minutes=10)
_ANSWERED = (JobState.DONE.value, JobState.NOT_DIAGNOSTIC.value)


@dataclass(frozen=True, slots=True)
class Channel:
    """A receiver of alerts; one of `ecg_only` takes nothing that is not about one ECG."""

    name: str
    kinds: frozenset[AlertKind]
    ecg_only: bool = False


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert with what is known of its ECG; fields of an ECG are None where the alert is about a destination."""

    alert_id: int
    kind: AlertKind
    state: AlertState
    text: str
    details: Mapping[str, Any]
    raised_at: datetime
    destination: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    why: str | None
    ecg_id: int | None
    sop_instance_uid: str | None
    study_instance_uid: str | None
    accession_number: str | None
    patient_id: str | None
    patient_name: str | None
    received_at: datetime | None
    acquisition_datetime: str | None
    answered: bool
    """Whether the ECG has an answer by now."""


@dataclass(frozen=True, slots=True)
class PendingNotification:
    """An alert to tell a receiver of now; its `message_id` is the same at every try."""

    notification_id: int
    fence: int
    attempt: int
    message_id: str
    alert: AlertView


def raise_alerts(database: Database, rules: AlertRules, channels: Sequence[Channel]) -> int:
    """Raise what the records give cause for, once each, with a notification a channel; how many. Raises DatabaseAway.

    Looking takes no lock. Only who finds something takes the scan's row and looks again, so that of two senders one
    raises it.
    """
    with database.reading() as session:
        now, until = database_time(session), session.scalars(select(AlertScan.until)).one()
        if not find_causes(session, rules, now, until) and now - until < _NOTE_SCAN_EVERY:
            return 0
    with database.writing() as session:
        scan = session.get_one(AlertScan, 1, with_for_update=True)
        now = database_time(session)
        causes = find_causes(session, rules, now, scan.until)
        for cause in causes:
            _raise(session, cause, channels, now)
        scan.until = now
        return len(causes)


def _raise(session: Session, cause: Cause, channels: Sequence[Channel], now: datetime) -> None:
    row = Alert(
        kind=cause.kind.value,
        cause=cause.cause,
        state=AlertState.RAISED.value,
        ecg_id=cause.ecg_id,
        destination=cause.destination,
        details=dict(cause.details),
        raised_at=now,
    )
    session.add(row)
    session.flush()
    told = [one.name for one in channels if cause.kind in one.kinds and not (one.ecg_only and cause.ecg_id is None)]
    for channel in told:
        session.add(
            Notification(
                alert_id=row.id,
                channel=channel,
                message_id=secrets.token_hex(10),  # 20 characters: HL7 2.5.1, MSH-10
                state=NotificationState.PREPARED.value,
                not_before=now,
                created_at=now,
            )
        )
    add_event(
        session,
        EventKind.ALERT_RAISED,
        actor="sender",
        at=now,
        ecg_id=cause.ecg_id,
        alert_id=row.id,
        alert=cause.kind.value,
        channels=told,
        **cause.details,
    )


def acknowledge_alert(database: Database, alert_id: int, actor: str, why: str) -> bool:
    """A person has seen an alert and says what was done; False when it is unknown or acknowledged already.

    Receivers that were not told yet are not told any more.
    """
    with database.writing() as session:
        now = database_time(session)
        row = session.get(Alert, alert_id, with_for_update=True)
        if row is None or row.state != AlertState.RAISED.value:
            return False
        row.state, row.acknowledged_at, row.acknowledged_by, row.why = AlertState.ACKNOWLEDGED.value, now, actor, why
        session.execute(
            update(Notification)
            .where(Notification.alert_id == alert_id, Notification.state == NotificationState.PREPARED.value)
            .values(state=NotificationState.WITHDRAWN.value, fence=Notification.fence + 1)
        )
        add_event(
            session,
            EventKind.ALERT_ACKNOWLEDGED,
            actor=actor,
            at=now,
            ecg_id=row.ecg_id,
            alert_id=alert_id,
            alert=row.kind,
            why=why,
        )
        return True


def list_alerts(database: Database, open_only: bool = True, limit: int = 200) -> list[AlertView]:
    """Alerts, suspected infarctions first, then newest first; acknowledged ones too unless `open_only`."""
    with database.reading() as session:
        urgent = Alert.kind == AlertKind.SUSPECTED_INFARCTION.value
        query = _views().order_by(urgent.desc(), Alert.id.desc()).limit(limit)
        if open_only:
            query = query.where(Alert.state == AlertState.RAISED.value)
        return [_view(*row) for row in session.execute(query)]


def count_open_alerts(database: Database) -> dict[AlertKind, int]:
    """How many alerts of each kind nobody has acknowledged."""
    with database.reading() as session:
        query = select(Alert.kind, func.count()).where(Alert.state == AlertState.RAISED.value).group_by(Alert.kind)
        found = {str(kind): int(count) for kind, count in session.execute(query)}
        return {kind: found.get(kind.value, 0) for kind in AlertKind}


def _views() -> Select[Alert, Instance, bool]:
    answered = select(Job.id).where(Job.ecg_id == Alert.ecg_id, Job.state.in_(_ANSWERED)).exists()
    return select(Alert, Instance, answered).join(Instance, Instance.id == Alert.ecg_id, isouter=True)


def _view(row: Alert, ecg: Instance | None, answered: bool) -> AlertView:
    kind = AlertKind(row.kind)
    return AlertView(
        alert_id=row.id,
        kind=kind,
        state=AlertState(row.state),
        text=alert_text(kind, row.details),
        details=row.details,
        raised_at=row.raised_at,
        destination=row.destination,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        why=row.why,
        ecg_id=row.ecg_id,
        sop_instance_uid=ecg.sop_instance_uid if ecg else None,
        study_instance_uid=ecg.study_instance_uid if ecg else None,
        accession_number=ecg.accession_number if ecg else None,
        patient_id=ecg.patient_id if ecg else None,
        patient_name=ecg.patient_name if ecg else None,
        received_at=ecg.received_at if ecg else None,
        acquisition_datetime=ecg.acquisition_datetime if ecg else None,
        answered=bool(answered),
    )


def claim_notification(database: Database, channel: str, lease_s: float) -> PendingNotification | None:
    """The notification that is due next for a channel, for `lease_s` nobody else's; suspected infarctions first."""
    with database.reading() as session:
        if session.scalar(_due(channel, database_time(session))) is None:
            return None
    with database.writing() as session:
        now = database_time(session)
        row = session.scalar(_due(channel, now).with_for_update(of=Notification, skip_locked=True))
        if row is None:
            return None
        row.fence, row.attempt = row.fence + 1, row.attempt + 1
        row.not_before = now + timedelta(seconds=lease_s)
        found = session.execute(_views().where(Alert.id == row.alert_id)).one()
        return PendingNotification(row.id, row.fence, row.attempt, row.message_id, _view(*found))


def _due(channel: str, now: datetime) -> Select[Notification]:
    urgent = Alert.kind == AlertKind.SUSPECTED_INFARCTION.value
    return (
        select(Notification)
        .join(Alert, Alert.id == Notification.alert_id)
        .where(
            Notification.channel == channel,
            Notification.state == NotificationState.PREPARED.value,
            Notification.not_before <= now,
        )
        .order_by(urgent.desc(), Notification.id)
        .limit(1)
    )


def record_notified(database: Database, pending: PendingNotification, channel: str) -> bool:
    """A receiver has acknowledged an alert's message; False when it was withdrawn or is another sender's by now."""
    with database.writing() as session:
        now = database_time(session)
        done = _update(session, pending, state=NotificationState.SENT.value, sent_at=now, last_error=None)
        if done:
            add_event(
                session,
                EventKind.NOTIFICATION_SENT,
                actor="sender",
                at=now,
                ecg_id=pending.alert.ecg_id,
                alert_id=pending.alert.alert_id,
                channel=channel,
                message_id=pending.message_id,
                attempt=pending.attempt,
            )
        return done


def record_not_notified(database: Database, pending: PendingNotification, why: str, delay_s: float) -> None:
    """A receiver could not be told; it is told again after a delay, without an end."""
    with database.writing() as session:
        later = database_time(session) + timedelta(seconds=delay_s)
        _update(session, pending, last_error=why, not_before=later)


def _update(session: Session, pending: PendingNotification, **values: object) -> bool:
    result = session.execute(
        update(Notification)
        .where(
            Notification.id == pending.notification_id,
            Notification.fence == pending.fence,
            Notification.state == NotificationState.PREPARED.value,
        )
        .values(**values)
    )
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def list_notifications(database: Database, *alert_ids: int) -> list[Notification]:
    """Whom these alerts go to, and how far each got."""
    with database.reading() as session:
        mine = select(Notification).where(Notification.alert_id.in_(alert_ids))
        return list(session.scalars(mine.order_by(Notification.alert_id, Notification.channel)))
