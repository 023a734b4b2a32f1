"""T36: a picture that makes the network loop for ever, or want more memory than there is, fails by itself.

Seen to fail with no limit of a round (the ECG stays running for ever), and with `max_attempts` out of reach. That a
worker killed by the kernel is the same is T03's.
"""

import pytest
from sqlalchemy import text

from core.states import JobState
from tests.faults.harness import FaultNode, MakeNode, backends, must_hold
from tests.faults.objects import ecg_object
from tests.tally import Report

HUNG = 70


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, make_node: MakeNode) -> FaultNode:
    return make_node(request.param, lease_s=1, decode_timeout_s=2, batch_size=1)


def test_an_ecg_that_hangs_every_worker_fails_after_three_attempts_and_its_neighbour_is_answered(
    node: FaultNode, tally: Report
) -> None:
    node.start("listen")
    ecg, neighbour = ecg_object(0), ecg_object(1)
    node.push([ecg])
    for _attempt in range(3):
        assert node.launch("work", as_name="stuck", loop={"decoded": 1}).wait(90) == HUNG
        _let_claims_run_out(node)
    node.push([neighbour])
    node.start("work", lease_s=60, decode_timeout_s=60)
    failed = node.wait_ended(ecg.sop_instance_uid)
    assert failed.state is JobState.FAILED
    assert "3 times" in (failed.reason or "")
    assert node.wait_ended(neighbour.sop_instance_uid).state is JobState.DONE
    tally("T36", cases=1, kills=3)


def test_an_ecg_for_which_memory_never_suffices_fails_after_three_attempts_without_a_death(
    node: FaultNode, tally: Report
) -> None:
    node.start("listen")
    ecg = ecg_object()
    node.push([ecg])
    worker = node.launch("work", memory={"classified": 0}, lease_s=60, decode_timeout_s=60)
    failed = node.wait_ended(ecg.sop_instance_uid)
    assert failed.state is JobState.FAILED
    assert failed.reason == "judging raised MemoryError"
    assert worker.poll() is None
    must_hold(node, [ecg], answered=False)
    tally("T36", cases=1)


def _let_claims_run_out(node: FaultNode) -> None:
    with node.database.writing() as session:
        session.execute(text("UPDATE job SET lease_until = '2000-01-01 00:00:00' WHERE state = 'running'"))
