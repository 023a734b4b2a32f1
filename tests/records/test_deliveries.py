"""A report leaves once for each destination, and waits for one that is away."""

import pytest
from sqlalchemy import select, text

from core.states import DeliveryState, ReportKind
from records.database import Database
from records.deliveries import (
    LostTurn,
    Turn,
    claim_destination,
    drop_delivery,
    end_turn,
    keep_sr_class,
    list_deliveries,
    list_due,
    record_away,
    record_delivered,
    record_postponed,
    record_refused,
    retry_delivery,
)
from records.instances import record_received
from records.jobs import claim_jobs
from records.results import Route, record_answer
from records.tables import Report
from tests.records.samples import answer, received

BOTH = frozenset(ReportKind)


def _answered(database: Database, sr_class: str = "comprehensive") -> None:
    record_received(database, received())
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    record_answer(database, job, answer(), [Route("pacs", BOTH, sr_class)])


def _turn(database: Database, owner: str = "s") -> Turn:
    turn = claim_destination(database, "pacs", owner, 30)
    assert turn is not None
    return turn


def _let_delays_pass(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("UPDATE delivery SET not_before = '2000-01-01 00:00:00.000000'"))
        session.execute(text("UPDATE destination SET not_before = '2000-01-01 00:00:00.000000'"))


def _states(database: Database) -> list[str]:
    return sorted(row.state for row in list_deliveries(database))


def test_the_heat_map_leaves_before_the_sr_that_refers_to_it(database: Database) -> None:
    _answered(database)
    assert [one.kind for one in list_due(database, _turn(database), 10)] == ["heatmap", "sr"]


def test_an_sr_of_an_open_class_gets_the_class_of_its_destination_for_good(database: Database) -> None:
    _answered(database, sr_class="")
    turn = keep_sr_class(database, _turn(database), "enhanced")
    sr = list_due(database, turn, 10)[1]
    with database.reading() as session:
        assert (
            session.scalar(select(Report.sr_class).where(Report.sop_instance_uid == sr.sop_instance_uid)) == "enhanced"
        )
    end_turn(database, turn)
    turn = keep_sr_class(database, _turn(database), "comprehensive")
    assert list_due(database, turn, 10)[1].sop_instance_uid == sr.sop_instance_uid


def test_one_sender_at_a_time_serves_a_destination(database: Database) -> None:
    _answered(database)
    turn = _turn(database)
    assert claim_destination(database, "pacs", "other", 30) is None
    end_turn(database, turn)
    assert claim_destination(database, "pacs", "other", 30) is not None


def test_a_sender_that_lost_its_turn_records_nothing(database: Database) -> None:
    _answered(database)
    old = _turn(database)
    first = list_due(database, old, 10)[0]
    with database.writing() as session:
        session.execute(text("UPDATE destination SET lease_until = '2000-01-01 00:00:00.000000'"))
    _turn(database, "other")
    with pytest.raises(LostTurn):
        record_delivered(database, old, first, 0)
    assert _states(database) == ["prepared", "prepared"]


def test_a_destination_that_is_away_gets_one_probe_at_a_time(database: Database) -> None:
    for _ in range(3):
        _answered(database)
    turn = _turn(database)
    due = list_due(database, turn, 10)
    assert len(due) == 6
    record_away(database, turn, "refused", 60, due[:1])
    assert claim_destination(database, "pacs", "s", 30) is None
    _let_delays_pass(database)
    turn = _turn(database)
    probe = list_due(database, turn, 10)
    assert len(probe) == 1
    record_delivered(database, turn, probe[0], 0)
    end_turn(database, turn)
    assert len(list_due(database, _turn(database), 10)) == 5


def test_a_postponed_report_waits_and_its_neighbours_do_not(database: Database) -> None:
    _answered(database)
    turn = _turn(database)
    heat, sr = list_due(database, turn, 10)
    record_postponed(database, turn, heat, 0xA700, "out of resources", 60)
    assert [one.delivery_id for one in list_due(database, turn, 10)] == [sr.delivery_id]


def test_a_refused_report_waits_for_a_person(database: Database) -> None:
    _answered(database)
    turn = _turn(database)
    heat, sr = list_due(database, turn, 10)
    record_refused(database, turn, heat, 0xA900, "data set does not match")
    record_delivered(database, turn, sr, 0)
    assert _states(database) == ["failed", "sent"]
    assert retry_delivery(database, heat.delivery_id, "admin")
    assert not retry_delivery(database, sr.delivery_id, "admin")
    assert [one.delivery_id for one in list_due(database, turn, 10)] == [heat.delivery_id]


def test_a_delivery_is_given_up_with_a_reason(database: Database) -> None:
    _answered(database)
    first = list_deliveries(database, DeliveryState.PREPARED)[0]
    assert drop_delivery(database, first.id, "admin", "patient withdrew")
    assert not drop_delivery(database, first.id, "admin", "again")
    dropped = list_deliveries(database, DeliveryState.DROPPED)
    assert [(row.id, row.last_error) for row in dropped] == [(first.id, "patient withdrew")]
