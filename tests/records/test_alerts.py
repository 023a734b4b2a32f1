"""An alert is raised once for each cause, and stays until a person acknowledges it."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from core.states import AlertKind, AlertState, JobState, NotificationState
from core.values import Label
from records.alerts import (
    AlertRules,
    Channel,
    acknowledge_alert,
    claim_notification,
    count_open_alerts,
    list_alerts,
    list_notifications,
    raise_alerts,
    record_not_notified,
    record_notified,
)
from records.audit import verify_trail
from records.database import Database
from records.deliveries import claim_destination, list_due, record_delivered, record_refused, retry_delivery
from records.instances import queue_job, record_received, release_conflict
from records.jobs import claim_jobs, fail_job
from records.results import Route, record_answer
from records.tables import Instance
from records.tables import ReportKind as Kind
from tests.records.samples import answer, received

RULES = AlertRules(unanswered_s=300, infarction_probability=0.5, undelivered_s=3600, destinations=("pacs",))
EVERYTHING = Channel("webhook:pager", frozenset(AlertKind))
RIS = Channel("hl7:ris", frozenset(AlertKind), ecg_only=True)


def _receive(database: Database, **changes: object) -> int:
    return record_received(database, received(**changes)).ecg_id


def _answer(database: Database, infarction: float, routes: tuple[Route, ...] = ()) -> None:
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    said = answer(Label.MYOCARDIAL_INFARCTION if infarction >= 0.5 else Label.NORMAL)
    frame = replace(said.frames[0], probabilities=(1 - infarction, 0.0, infarction))
    record_answer(database, job, replace(said, frames=[frame]), routes)


def _age(database: Database, table: str, column: str, seconds: float) -> None:
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    with database.writing() as session:
        session.execute(text(f"UPDATE {table} SET {column} = :at"), {"at": _as_kept(database, at)})


def _as_kept(database: Database, at: datetime) -> object:
    return at if database.engine.dialect.name == "postgresql" else at.strftime("%Y-%m-%d %H:%M:%S.%f")


def _kinds(database: Database) -> list[AlertKind]:
    return [one.kind for one in list_alerts(database)]


def test_a_suspected_infarction_is_told_of_once(database: Database) -> None:
    ecg_id = _receive(database)
    _answer(database, 0.87)
    assert raise_alerts(database, RULES, [EVERYTHING, RIS]) == 1
    assert raise_alerts(database, RULES, [EVERYTHING, RIS]) == 0
    (alert,) = list_alerts(database)
    assert (alert.kind, alert.ecg_id, alert.details["probability"]) == (
        AlertKind.SUSPECTED_INFARCTION,
        ecg_id,
        pytest.approx(0.87),
    )
    assert "87.0 %" in alert.text
    assert "Not verified by a physician" in alert.text
    assert {row.channel for row in list_notifications(database, alert.alert_id)} == {"webhook:pager", "hl7:ris"}
    assert verify_trail(database).fault is None


def test_a_probability_below_the_threshold_raises_nothing(database: Database) -> None:
    _receive(database)
    _answer(database, 0.49)
    assert raise_alerts(database, RULES, []) == 0


def test_an_infarction_that_the_model_is_not_sure_enough_of_is_told_of_too(database: Database) -> None:
    _receive(database)
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    said = answer()
    frame = replace(said.frames[0], label=None, reason=_uncertain(), probabilities=(0.2, 0.29, 0.51))
    record_answer(database, job, replace(said, state=JobState.NOT_DIAGNOSTIC, reason="uncertain", frames=[frame]), [])
    assert raise_alerts(database, RULES, []) == 1


def _uncertain() -> object:
    from core.states import Reason

    return Reason.UNCERTAIN


def test_what_a_reanalysis_finds_raises_an_alert_only_where_a_site_wants_it(database: Database) -> None:
    ecg_id = _receive(database)
    _answer(database, 0.1)
    with database.writing() as session:
        queue_job(session, session.get_one(Instance, ecg_id), datetime.now(UTC) - timedelta(minutes=1), "again")
    _answer(database, 0.9)
    assert raise_alerts(database, RULES, []) == 0
    assert raise_alerts(database, replace(RULES, reanalysis=True), []) == 1


def test_two_senders_raise_one_alert(database: Database) -> None:
    for _ in range(5):
        _receive(database)
        _answer(database, 0.9)
    raised: list[int] = []
    threads = [
        threading.Thread(target=lambda: raised.append(raise_alerts(database, RULES, [EVERYTHING]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(raised) == 5
    assert len(list_alerts(database)) == 5


def test_an_ecg_that_waits_too_long_raises_an_alert_and_one_that_is_answered_does_not(database: Database) -> None:
    _receive(database)
    _answer(database, 0.1)
    waiting = _receive(database)
    assert raise_alerts(database, RULES, []) == 0
    _age(database, "instance", "received_at", 301)
    assert raise_alerts(database, RULES, []) == 1
    (alert,) = list_alerts(database)
    assert (alert.kind, alert.ecg_id, alert.answered) == (AlertKind.UNANSWERED, waiting, False)
    assert "queued" in alert.text
    _answer(database, 0.1)
    assert list_alerts(database)[0].answered
    assert raise_alerts(database, RULES, []) == 0


def test_an_ecg_whose_judging_failed_raises_an_alert_at_once(database: Database) -> None:
    _receive(database)
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    fail_job(database, job, "judging raised ValueError")
    assert raise_alerts(database, RULES, []) == 1
    assert "judging raised ValueError" in list_alerts(database)[0].text


def test_a_conflict_that_nobody_decides_raises_an_alert(database: Database) -> None:
    first = received()
    record_received(database, first)
    _answer(database, 0.1)
    other = received(sop_instance_uid=first.sop_instance_uid)
    conflict = record_received(database, other).ecg_id
    _age(database, "instance", "received_at", 301)
    assert raise_alerts(database, RULES, []) == 1
    assert [one.ecg_id for one in list_alerts(database)] == [conflict]
    release_conflict(database, conflict, "admin")
    _answer(database, 0.1)
    assert list_alerts(database)[0].answered


def test_a_destination_that_is_away_raises_one_alert_not_one_an_ecg(database: Database) -> None:
    for _ in range(3):
        _receive(database)
        _answer(database, 0.1, (Route("pacs", frozenset(Kind), "comprehensive"),))
    assert raise_alerts(database, RULES, [EVERYTHING, RIS]) == 0
    _age(database, "delivery", "created_at", 3601)
    assert raise_alerts(database, RULES, [EVERYTHING, RIS]) == 1
    assert raise_alerts(database, RULES, [EVERYTHING, RIS]) == 0
    (alert,) = list_alerts(database)
    assert (alert.kind, alert.destination, alert.ecg_id) == (AlertKind.UNDELIVERED, "pacs", None)
    # An HL7 result is always about an ECG
    assert [row.channel for row in list_notifications(database, alert.alert_id)] == ["webhook:pager"]
    assert acknowledge_alert(database, alert.alert_id, "admin", "PACS is being upgraded")
    assert raise_alerts(database, RULES, []) == 0


def test_a_refused_delivery_raises_an_alert_and_again_only_when_another_is_refused(database: Database) -> None:
    _receive(database)
    _answer(database, 0.1, (Route("pacs", frozenset(Kind), "comprehensive"),))
    turn = claim_destination(database, "pacs", "s", 30)
    assert turn is not None
    heat, _sr = list_due(database, turn, 10)
    record_refused(database, turn, heat, 0xA900, "the peer refused it (0xa900)")
    assert raise_alerts(database, RULES, []) == 1
    (alert,) = list_alerts(database)
    assert "0xa900" in alert.text
    acknowledge_alert(database, alert.alert_id, "admin", "told the vendor")
    assert raise_alerts(database, RULES, []) == 0
    retry_delivery(database, heat.delivery_id, "admin")
    record_refused(database, turn, heat, 0xA900, "the peer refused it (0xa900)")
    assert raise_alerts(database, RULES, []) == 1


def test_a_result_that_was_taken_and_never_committed_raises_an_alert_where_commitment_is_asked_for(
    database: Database,
) -> None:
    _receive(database)
    _answer(database, 0.1, (Route("pacs", frozenset(Kind), "comprehensive"),))
    turn = claim_destination(database, "pacs", "s", 30)
    assert turn is not None
    for one in list_due(database, turn, 10):
        record_delivered(database, turn, one, 0)
    _age(database, "delivery", "sent_at", 3601)
    assert raise_alerts(database, RULES, []) == 0
    assert raise_alerts(database, replace(RULES, committing=frozenset({"pacs"})), []) == 1
    assert "commitment is still outstanding" in list_alerts(database)[0].text


def test_an_alert_stays_until_a_person_acknowledges_it_and_tells_nobody_after(database: Database) -> None:
    _receive(database)
    _answer(database, 0.9)
    raise_alerts(database, RULES, [EVERYTHING])
    (alert,) = list_alerts(database)
    pending = claim_notification(database, "webhook:pager", 30)
    assert pending is not None
    assert acknowledge_alert(database, alert.alert_id, "dr", "patient is in the cath lab")
    assert not acknowledge_alert(database, alert.alert_id, "dr", "again")
    assert list_alerts(database) == []
    (kept,) = list_alerts(database, open_only=False)
    assert (kept.state, kept.acknowledged_by, kept.why) == (
        AlertState.ACKNOWLEDGED,
        "dr",
        "patient is in the cath lab",
    )
    assert not record_notified(database, pending, "webhook:pager")
    assert [row.state for row in list_notifications(database, alert.alert_id)] == [NotificationState.WITHDRAWN]
    assert count_open_alerts(database)[AlertKind.SUSPECTED_INFARCTION] == 0


def test_a_notification_is_one_senders_and_is_tried_again_with_the_same_message_id(database: Database) -> None:
    _receive(database)
    _answer(database, 0.9)
    raise_alerts(database, RULES, [EVERYTHING])
    first = claim_notification(database, "webhook:pager", 30)
    assert first is not None
    assert claim_notification(database, "webhook:pager", 30) is None
    record_not_notified(database, first, "no answer", 0)
    again = claim_notification(database, "webhook:pager", 30)
    assert again is not None
    assert (again.message_id, again.attempt) == (first.message_id, 2)
    assert not record_notified(database, first, "webhook:pager")
    assert record_notified(database, again, "webhook:pager")
    assert claim_notification(database, "webhook:pager", 30) is None


def test_suspected_infarctions_come_first(database: Database) -> None:
    _receive(database)
    _age(database, "instance", "received_at", 301)
    raise_alerts(database, RULES, [EVERYTHING])
    _answer(database, 0.9)
    raise_alerts(database, RULES, [EVERYTHING])
    assert _kinds(database) == [AlertKind.SUSPECTED_INFARCTION, AlertKind.UNANSWERED]
    pending = claim_notification(database, "webhook:pager", 30)
    assert pending is not None
    assert pending.alert.kind is AlertKind.SUSPECTED_INFARCTION
