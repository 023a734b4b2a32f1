"""T39: a worker or sender that was frozen past its claim and goes on cannot write any more.

Seen to fail with the fence left out of the condition of `records.jobs._fenced` and `records.deliveries._fenced`.
"""

from pathlib import Path

import pytest
from sqlalchemy import select, text

from records.tables import Classification, Job
from tests.faults.harness import FaultNode, MakeNode, backends, count_rows, must_hold
from tests.faults.objects import ecg_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.servers import wait_until
from tests.tally import Report


@pytest.fixture(params=backends("postgresql"))
def node(request: pytest.FixtureRequest, pacs: ScriptedPacs, make_node: MakeNode) -> FaultNode:
    return make_node(request.param, destinations=pacs.destinations, send_timeout_s=10, lease_s=600)


def test_the_late_answer_of_a_worker_that_was_frozen_is_thrown_away(
    node: FaultNode, pacs: ScriptedPacs, tally: Report
) -> None:
    node.start("listen", "send")
    ecg = ecg_object()
    node.push([ecg])
    # Stops itself where no transaction is open: a process that is frozen in one is T06's business
    frozen = node.launch("work", as_name="frozen", freeze={"classified": 1})
    wait_until(lambda: _is_stopped(frozen.pid), 90, "the first worker is frozen")
    _let_claims_run_out(node)
    node.start("work")
    node.wait_delivered(ecg.sop_instance_uid)
    node.thaw("frozen")
    wait_until(lambda: "lease" in node.log("frozen"), 90, "the frozen worker finds its lease lost")
    must_hold(node, [ecg], pacs)
    assert count_rows(node.database, Classification) == 1
    with node.database.reading() as session:
        (job,) = session.scalars(select(Job))
    assert job.attempt == 2
    node.end("frozen")
    node.end("work")
    must_hold(node, [ecg], pacs, settled=True)
    tally("T39", cases=1)


def test_a_sender_that_was_frozen_ends_its_turn_and_the_pacs_holds_one_report(
    node: FaultNode, pacs: ScriptedPacs, tally: Report
) -> None:
    node.start("listen", "work")
    ecg = ecg_object()
    node.push([ecg])
    node.wait_ended(ecg.sop_instance_uid)
    frozen = node.launch("send", as_name="frozen", freeze={"sent": 1})
    wait_until(lambda: _is_stopped(frozen.pid), 90, "the first sender is frozen")
    with node.database.writing() as session:
        session.execute(text("UPDATE destination SET lease_until = '2000-01-01 00:00:00'"))
    node.start("send")
    node.wait_delivered(ecg.sop_instance_uid)
    node.thaw("frozen")
    wait_until(lambda: "turn_lost" in node.log("frozen"), 90, "the frozen sender finds its turn lost")
    must_hold(node, [ecg], pacs)
    tally("T39", cases=1)


def test_a_frozen_listener_that_goes_on_keeps_what_it_then_acknowledges(node: FaultNode, tally: Report) -> None:
    node.start("listen")
    first, second = ecg_object(1), ecg_object(2)
    node.push([first])
    node.take_bases()
    node.freeze("listen")
    assert node.push_within([second], 1.0)[0].status is None
    node.thaw("listen")
    assert node.push([second])[0].status == 0
    must_hold(node, [first, second], answered=False)
    tally("T39", cases=1)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def _let_claims_run_out(node: FaultNode) -> None:
    with node.database.writing() as session:
        session.execute(text("UPDATE job SET lease_until = '2000-01-01 00:00:00' WHERE state = 'running'"))
