"""T03: a worker or sender that is killed at any border loses nothing and answers nothing twice.

Seen to fail with claims that never run out (`records.jobs._claimable`).
"""

import random

import pytest
from sqlalchemy import text

from core.states import JobState
from dicom_node.scu import Outgoing
from tests.faults.harness import FaultNode, MakeNode, attempts_of, backends, must_hold
from tests.faults.objects import ecg_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.servers import wait_until
from tests.tally import Report

WORKER = ("claimed", "decoded", "classified", "saved", "before_commit", "committed")
SENDER = ("before_send", "sent", "recorded")


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, pacs: ScriptedPacs, make_node: MakeNode) -> FaultNode:
    return make_node(request.param, destinations=pacs.destinations, send_timeout_s=10, lease_s=1)


@pytest.mark.parametrize("rounds", [1, pytest.param(3, marks=pytest.mark.faults)])
def test_nothing_is_lost_or_answered_twice_wherever_a_worker_or_sender_is_killed(
    rounds: int, node: FaultNode, pacs: ScriptedPacs, tally: Report, seed: int
) -> None:
    chance = random.Random(seed)
    node.start("listen")
    sent: list[Outgoing] = []
    for border in WORKER * rounds:
        # The first round takes one ECG a worker, the others a batch that is killed somewhere in it
        batch = 1 if len(sent) < len(WORKER) else chance.randint(2, 3)
        passing = 1 if border == "claimed" else chance.randint(1, batch)
        _push(node, batch, sent)
        # A lease that outlives the test leaves what it claimed alone, so that each ECG is killed once
        doomed = node.launch("work", die={border: passing}, lease_s=600, batch_size=batch)
        assert doomed.wait(90) == -9, node.log("work")[-1000:]
    _let_leases_run_out(node)
    node.start("work")
    for one in sent:
        assert node.wait_ended(one.sop_instance_uid).state is JobState.DONE
    for border in SENDER * rounds:
        _push(node, 1, sent)
        doomed = node.launch("send", die={border: chance.randint(1, 2) if border == "recorded" else 1})
        assert doomed.wait(90) == -9, node.log("send")[-1000:]
    node.start("send")
    must_hold(node, sent, pacs)
    assert max(attempts_of(node.database)) == 2
    node.end("work")
    must_hold(node, sent, pacs, settled=True)
    tally("T03", cases=len(sent), kills=(len(WORKER) + len(SENDER)) * rounds)


def _push(node: FaultNode, count: int, sent: list[Outgoing]) -> None:
    ecgs = [ecg_object(len(sent) + n) for n in range(count)]
    assert [outcome.status for outcome in node.push(ecgs)] == [0] * count
    sent += ecgs


def _let_leases_run_out(node: FaultNode) -> None:
    """Leases are measured with the database's clock, so the test moves them rather than the clock."""
    with node.database.writing() as session:
        session.execute(text("UPDATE job SET lease_until = '2000-01-01 00:00:00' WHERE state = 'running'"))


def test_an_ecg_that_kills_every_worker_fails_by_itself_after_three_attempts(node: FaultNode, tally: Report) -> None:
    node.start("listen")
    ecg = ecg_object()
    node.push([ecg])
    for _attempt in range(3):
        assert node.launch("work", die={"decoded": 1}).wait(90) == -9
        with node.database.writing() as session:
            session.execute(text("UPDATE job SET lease_until = '2000-01-01 00:00:00' WHERE state = 'running'"))
    neighbour = ecg_object(1)
    node.push([neighbour])
    node.start("work")
    failed = node.wait_ended(ecg.sop_instance_uid)
    assert failed.state is JobState.FAILED
    assert failed.reason == "the worker died or hung 3 times while judging this ECG"
    assert node.wait_ended(neighbour.sop_instance_uid).state is JobState.DONE
    tally("T03", cases=1, kills=3)


def test_a_worker_that_dies_between_its_answer_and_the_wakeup_of_senders_is_not_missed(
    node: FaultNode, pacs: ScriptedPacs, tally: Report
) -> None:
    node.start("listen", "send")
    sent: list[Outgoing] = []
    _push(node, 1, sent)
    assert node.launch("work", die={"committed": 1}).wait(90) == -9
    wait_until(lambda: len(pacs.kept) == 2, 90, "SR and heat map are there")
    must_hold(node, sent, pacs)
    tally("T03", cases=1, kills=1)
