"""An administrator sees deliveries, retries, drops and pauses; each act is in the trail under their own name."""

import json
import os
import pwd
from collections.abc import Callable

import pytest
from sqlalchemy import select

from core.settings import Settings
from core.states import EventKind, ReportKind
from records.database import Database
from records.deliveries import claim_destination, list_due, record_away, record_refused
from records.instances import record_received
from records.jobs import claim_jobs
from records.results import Route, record_answer
from records.tables import TrailEvent
from tests.operations.command import Commands
from tests.records.samples import answer, received

ME = pwd.getpwuid(os.getuid()).pw_name
PACS = {"host": "127.0.0.1", "port": 1, "ae_title": "PACS"}


@pytest.fixture
def run(database: Database, make_settings: Callable[..., Settings], database_url: str) -> Commands:
    """Commands on a database in which one ECG's heat map was refused by `main`, and its SR waits."""
    record_received(database, received())
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    record_answer(database, job, answer(), [Route("main", frozenset(ReportKind), "comprehensive")])
    turn = claim_destination(database, "main", "s", 30)
    assert turn is not None
    heat, sr = list_due(database, turn, 10)
    record_refused(database, turn, heat, 0xA900, "the peer refused it (0xa900)")
    record_away(database, turn, "connection refused", 600, [sr])
    return Commands(
        data_dir=make_settings().data_dir,
        database_url=database_url,
        destinations={"main": PACS, "spare": PACS | {"ae_title": "SPARE"}},
    )


def _acts(database: Database, kind: EventKind) -> list[tuple[str, dict[str, object]]]:
    with database.reading() as session:
        rows = session.scalars(select(TrailEvent).where(TrailEvent.kind == kind.value).order_by(TrailEvent.seq))
        return [(row.actor, json.loads(row.details)) for row in rows]


def test_deliveries_are_listed_by_state_and_destination(run: Commands) -> None:
    found = run.json("deliveries", "ls")
    assert [(one["kind"], one["state"], one["last_status"]) for one in found["deliveries"]] == [
        ("sr", "prepared", None),
        ("heatmap", "failed", "0xa900"),
    ]
    places = {place["name"]: place for place in found["destinations"]}
    assert places["main"]["counts"] == {"failed": 1, "prepared": 1}
    assert (places["main"]["failures"], places["spare"]["failures"]) == (1, 0)
    assert places["main"]["retry_at"] is not None
    assert [one["kind"] for one in run.json("deliveries", "ls", "--state", "failed")["deliveries"]] == ["heatmap"]
    assert run.json("deliveries", "ls", "--destination", "spare")["deliveries"] == []
    status, table = run("deliveries", "ls")
    assert status == 0
    assert "A900" in table
    assert "away, 1 tries" in table


def test_what_failed_is_tried_again_by_number_or_by_destination(run: Commands, database: Database) -> None:
    (failed,) = run.json("deliveries", "ls", "--state", "failed")["deliveries"]
    status, said = run("deliveries", "retry", "--destination", "main")
    assert (status, said.strip()) == (0, f"delivery {failed['delivery']}: will be tried again")
    assert run.json("deliveries", "ls", "--state", "failed")["deliveries"] == []
    assert [actor for actor, _ in _acts(database, EventKind.DELIVERY_RETRIED)] == [ME]
    assert claim_destination(database, "main", "s", 30) is not None, "a person's retry does not wait for the back-off"
    status, said = run("deliveries", "retry", 4711)
    assert (status, "is not there" in said) == (1, True)
    assert run("deliveries", "retry")[0] == 1


def test_a_delivery_is_dropped_only_with_a_reason(run: Commands, database: Database) -> None:
    (failed,) = run.json("deliveries", "ls", "--state", "failed")["deliveries"]
    assert run("deliveries", "drop", failed["delivery"])[0] == 2
    assert run("deliveries", "drop", failed["delivery"], "--why", " ")[0] == 1
    status, _said = run("deliveries", "drop", failed["delivery"], "--why", "sent by hand")
    assert status == 0
    ((actor, details),) = _acts(database, EventKind.DELIVERY_DROPPED)
    assert (actor, details["why"], details["delivery_id"]) == (ME, "sent by hand", failed["delivery"])


def test_a_destination_is_paused_and_resumed_by_name(run: Commands, database: Database) -> None:
    assert run("pause", "nowhere", "--why", "x")[0] == 1
    assert run("pause", "spare", "--why", "archive moves") == (0, "spare: paused\n")
    assert run("pause", "spare", "--why", "archive moves") == (0, "spare: was paused already\n")
    assert "paused" in run("deliveries", "ls")[1]
    assert run("resume", "spare") == (0, "spare: resumed\n")
    assert _acts(database, EventKind.DESTINATION_PAUSED) == [(ME, {"destination": "spare", "why": "archive moves"})]
    assert len(_acts(database, EventKind.DESTINATION_RESUMED)) == 1
