"""T29: a PACS that is down, half-open or slow delays reports and nothing else. T30: whatever a PACS answers, or leaves
unanswered, nothing is lost and nothing is there twice.

T29 was seen to fail with no limit on the wait for an association (`acse_timeout` of `dicom_node.scu._Sender`): a silent
PACS is never given up. T30 was seen to fail with A700 taken for a refusal (`dicom_node.statuses.may_pass`).
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from core.states import DeliveryState
from dicom_node.scu import SR_CLASS_UIDS, Outgoing
from records.tables import Delivery, Instance, Report
from tests.faults.harness import FaultNode, Forks, attempts_of, backends, database_of, must_hold
from tests.faults.objects import ecg_object, small_object
from tests.faults.scripted_pacs import Act, ScriptedPacs
from tests.servers import wait_until
from tests.tally import Report as Tally

DEADLINE_S = 120.0
SENT, FAILED = DeliveryState.SENT, DeliveryState.FAILED


@pytest.fixture(scope="module", params=backends("postgresql"))
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pacs(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedPacs]:
    scp = ScriptedPacs(tmp_path_factory.mktemp("pacs")).start()
    yield scp
    scp.stop()


@pytest.fixture(scope="module")
def node(
    backend: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    forks: Forks,
    pacs: ScriptedPacs,
) -> Iterator[FaultNode]:
    made = FaultNode(
        tmp_path_factory.mktemp("there") / "node",
        forks,
        database_url=database_of(backend, request),
        destinations={"there": pacs.destination},
        send_timeout_s=2,
        retry_most_s=1,
        lease_s=5,
    )
    made.start("send", "work", "listen")
    first = ecg_object()
    made.push([first])
    made.take_bases([first])
    yield made
    made.close()


@contextmanager
def _half_open(port: int) -> Iterator[None]:
    """A server that takes connections and never says a word, as one behind a broken firewall."""
    with socket.create_server(("127.0.0.1", port)) as server:
        taken: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    taken.append(server.accept()[0])
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


@pytest.mark.parametrize("number", [12, pytest.param(200, marks=pytest.mark.faults)])
def test_t29_reports_wait_for_a_pacs_that_is_down_half_open_and_slow(
    number: int, node: FaultNode, pacs: ScriptedPacs, tally: Tally
) -> None:
    pacs.stop()
    pacs.kept.clear()  # what is sent again with other bytes is sought in this test's
    sent = [small_object(n) for n in range(number - 1)] + [ecg_object(number)]
    half = number // 2
    log_before = len(node.log("send"))
    assert {outcome.status for outcome in node.push(sent[:half])} == {0}
    wait_until(
        lambda: "destination_away" in node.log("send")[log_before:], DEADLINE_S, "the sender finds the PACS away"
    )
    with _half_open(pacs.port):
        assert {outcome.status for outcome in node.push(sent[half:])} == {0}
        for one in sent:
            node.wait_ended(one.sop_instance_uid, DEADLINE_S)
        log_before = len(node.log("send"))
        wait_until(lambda: "destination_away" in node.log("send")[log_before:], DEADLINE_S, "a silent PACS is given up")
    assert pacs.kept == []
    pacs.start()
    pacs.say([0xA700, Act.SLOW, Act.ABORT, 0x0000, Act.SLOW])
    must_hold(node, sent, pacs)
    assert len({uid for uid, _digest in pacs.kept}) == number + 1
    assert max(attempts_of(node.database)) == 1
    tally("T29", cases=number)


CASES: list[tuple[list[int | Act], DeliveryState]] = [
    ([0x0000], SENT),
    ([0xB000], SENT),
    ([0xB007], SENT),
    ([0x0111], SENT),
    ([0xA700, 0xA701, 0x0000], SENT),
    ([0x0110, 0x0000], SENT),
    ([Act.ABORT, Act.ABORT, 0x0000], SENT),
    ([Act.KEEP_AND_ABORT, 0x0111], SENT),
    ([Act.KEEP_AND_ABORT, Act.KEEP_AND_ABORT, 0x0000], SENT),
    ([Act.SLOW, 0x0000], SENT),
    ([0xA900], FAILED),
    ([0xC000], FAILED),
    ([0x0122], FAILED),
]


def test_t30_every_answer_of_a_pacs_leads_to_one_report_or_a_reason(
    node: FaultNode, pacs: ScriptedPacs, tally: Tally
) -> None:
    there: list[Outgoing] = []
    pacs.asked.clear()
    for number, (steps, state) in enumerate(CASES):
        pacs.say(steps)
        one = small_object(number)
        assert node.push([one])[0].status == 0
        (delivery,) = wait_until(lambda one=one, state=state: _in_state(node, one, state), DEADLINE_S, f"{steps}")
        assert (delivery.last_error is None) == (state is SENT)
        assert not pacs.script
        if state is SENT and steps != [0x0111]:
            there.append(one)
    must_hold(node, there, pacs)
    # A refused report holds up nobody and is tried again when a person says so
    assert len(pacs.asked) == sum(len(steps) for steps, _state in CASES)
    tally("T30", cases=len(CASES))


def test_t30_a_pacs_that_takes_no_reports_fails_them_with_a_reason_and_gets_the_rest(
    request: pytest.FixtureRequest, tmp_path: Path, forks: Forks, tally: Tally
) -> None:
    pacs = ScriptedPacs(tmp_path / "narrow", without=tuple(SR_CLASS_UIDS.values())).start()
    node = FaultNode(tmp_path / "node", forks, destinations={"there": pacs.destination})
    try:
        node.start("send", "work", "listen")
        ecg = ecg_object()
        assert node.push([ecg])[0].status == 0
        (failed,) = wait_until(lambda: _in_state(node, ecg, FAILED), DEADLINE_S, "the SR is failed")
        (sent,) = wait_until(lambda: _in_state(node, ecg, SENT), DEADLINE_S, "the heat map is sent")
        assert (failed.kind, sent.kind) == ("sr", "heatmap")
        assert "takes no" in str(failed.last_error)
        must_hold(node, [], pacs)
        tally("T30", cases=1)
    finally:
        node.close()
        pacs.stop()


def _in_state(node: FaultNode, one: Outgoing, state: DeliveryState) -> list[Delivery]:
    with node.database.reading() as session:
        query = (
            select(Delivery)
            .join(Instance, Instance.id == Delivery.ecg_id)
            .outerjoin(Report, Report.id == Delivery.report_id)
            .where(Instance.sop_instance_uid == one.sop_instance_uid, Delivery.state == state.value)
        )
        return list(session.scalars(query))
