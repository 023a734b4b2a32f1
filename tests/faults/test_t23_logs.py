"""T23, the logs' part: one id leads from the association that brought an ECG to the delivery of its results, and no log
line or exception ever holds patient data.

Seen to fail without `association_id` in the deliveries' events, with `format_exc_info` in place of `_without_words` in
core/logs.py, with a broker when Celery sets up logging (`worker.tasks._leave_logs_alone` not connected), and without
`hide_parameters` of either engine.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.errors import DatabaseAway
from core.logs import start_logging
from core.settings import Settings
from core.states import EventKind
from records.audit_search import Search, export_trail
from records.database import Database
from tests.faults.harness import FaultNode, MakeNode, running_broker
from tests.faults.objects import CANARY, ecg_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.tally import Report

LINES = {"listen": "received", "work": "answered", "send": "delivered"}


@pytest.fixture(params=[False, True], ids=["no broker", "broker"])
def node(
    request: pytest.FixtureRequest, tmp_path: Path, pacs: ScriptedPacs, make_node: MakeNode
) -> Iterator[FaultNode]:
    """A whole node, without a broker and with one: its library would set up logging in its own way."""
    with running_broker("sqlite", tmp_path / "broker") if request.param else nullcontext() as broker:
        made = make_node(
            destinations=pacs.destinations, send_timeout_s=10, broker_url=broker.url if broker is not None else ""
        )
        made.start("listen", "work", "send")
        yield made


def test_one_id_leads_from_the_association_to_the_delivery(node: FaultNode, tally: Report) -> None:
    ecg = ecg_object()
    node.push([ecg])
    node.wait_delivered(ecg.sop_instance_uid)
    events = {one.kind: one.details for one in export_trail(node.database, Search())}
    (association,) = {
        events[kind.value]["association_id"]
        for kind in (EventKind.INSTANCE_RECEIVED, EventKind.JOB_FINISHED, EventKind.DELIVERY_SENT)
    }
    node.close()
    for process, event in LINES.items():
        lines = [json.loads(line) for line in node.log(process).splitlines() if line.startswith("{")]
        assert association in {line["association"] for line in lines if line["event"] == event}
        assert CANARY not in node.log(process)
    tally("T23", cases=1)


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logging_as_before")
def test_an_exception_is_logged_by_type_and_place_without_its_words(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    start_logging(settings, "test")
    for log in (structlog.get_logger("ours"), logging.getLogger("foreign")):
        try:
            raise ValueError(f"{CANARY}^PATIENT")
        except ValueError:
            log.error("raised", exc_info=True)
    written = capfd.readouterr().err
    assert CANARY not in written
    assert written.count("ValueError") == 2
    assert "test_t23_logs.py" in written


def test_an_error_of_the_database_does_not_repeat_what_was_asked_with(database: Database) -> None:
    with pytest.raises((DBAPIError, DatabaseAway)) as raised, database.reading() as session:
        session.execute(text("SELECT 1 FROM nowhere WHERE name = :name"), {"name": CANARY})
    said = f"{raised.value} {raised.value.__cause__}"
    assert "nowhere" in said
    assert CANARY not in said
