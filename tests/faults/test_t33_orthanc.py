"""T33 against a real Orthanc, both ways, and over the death of our processes."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.settings import Destination
from core.states import CommitmentState, DeliveryState, EventKind
from dicom_node.commitment import ask, new_transaction_uid, patience_of
from records.commitments import begin_commitment, list_commitments, record_asked, record_commitment
from records.deliveries import list_deliveries
from records.queries import find_summary
from tests.faults.commitment_peers import SC_CLASS, SR_CLASS, CommitmentPacs, record_result, small_object
from tests.node import Node, running_node
from tests.orthanc import Orthanc, running_orthanc
from tests.servers import end_process, wait_until

LONG_S = 90.0
QUICK = {"commitment_delay_s": 0, "retry_most_s": 0.5, "commitment_hold_s": 0.1}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def _states(node: Node) -> list[str]:
    return sorted(row.state for row in list_deliveries(node.database))


def _wait_states(node: Node, *states: str) -> None:
    wait_until(lambda: _states(node) == sorted(states), LONG_S, f"deliveries are {states}")


def test_orthanc_commits_what_it_has_and_what_it_lost_is_sent_again(orthanc: Orthanc, tmp_path: Path) -> None:
    there = {"pacs": orthanc.destination | {"sr_class": "comprehensive", "commitment": "true"}}
    with running_node(tmp_path / "node", "listen", destinations=there, **QUICK) as node:
        orthanc.add_modality("node", "ECGNODE", node.port())
        record_result(node.settings, node.database)
        node.start("send")
        _wait_states(node, "committed", "committed")
        end_process(node.processes["send"])
        # Asked while Orthanc has lost it: 0x0112, sent again, committed
        record_result(node.settings, node.database)
        node.start("send", commitment_delay_s=10_000)
        _wait_states(node, "committed", "committed", "sent", "sent")
        end_process(node.processes["send"])
        orthanc.clear()
        node.start("send")
        _wait_states(node, *["committed"] * 4)
        denied = [row.last_error for row in list_deliveries(node.database)]
        assert denied == [None] * 4
        assert len(orthanc.instances()) == 2


@pytest.mark.faults
def test_orthanc_names_a_class_conflict_and_the_same_transaction_twice_commits_nothing_twice(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    there = {"pacs": orthanc.destination | {"sr_class": "comprehensive", "commitment": "true"}}
    with running_node(
        tmp_path / "node", "listen", "send", destinations=there, **(QUICK | {"commitment_delay_s": 10_000})
    ) as node:
        orthanc.add_modality("node", "ECGNODE", node.port())
        _deny_and_repeat(node, orthanc.address)


def _deny_and_repeat(node: Node, address: Destination) -> None:
    record_result(node.settings, node.database)
    _wait_states(node, "sent", "sent")
    end_process(node.processes["send"])
    patience = replace(patience_of(node.settings), delay_s=0)
    pending = begin_commitment(node.database, "pacs", new_transaction_uid(), patience, 10)
    assert pending is not None
    (heat_class, heat), sr = sorted(pending.items)
    assert (heat_class, sr[0]) == (SC_CLASS, SR_CLASS)
    lied = replace(pending, items=[(SR_CLASS, heat), sr])

    def record(answer: object) -> bool:
        return record_commitment(node.database, answer, "ORTHANC", patience)  # type: ignore[arg-type]

    for _ in range(2):
        ask(address, lied, node.settings, record)
        record_asked(node.database, pending)
    _wait_states(node, "committed", "failed")
    (failed,) = list_deliveries(node.database, DeliveryState.FAILED)
    assert failed.last_error == "storage commitment was denied (0x0119)"
    assert {row.state for row in list_commitments(node.database)} == {CommitmentState.ANSWERED}


def test_orthanc_is_told_what_we_keep_even_when_our_sender_was_down(orthanc: Orthanc, tmp_path: Path) -> None:
    callers = {
        "orthanc": {"ae_titles": '["ORTHANC"]', "host": "127.0.0.1", "port": orthanc.dicom_port},
    }
    with running_node(tmp_path / "node", "listen", demo="false", callers=callers, **QUICK) as node:
        orthanc.add_modality("keeper", "ECGNODE", node.port())
        uid, content = small_object()
        orthanc.upload(content)
        assert orthanc.store("keeper", uid).is_success
        assert find_summary(node.database, uid) is not None
        asked = {
            "safe": [(SC_CLASS, uid)],
            "some": [(SC_CLASS, uid), (SC_CLASS, "1.2.3.4.5")],
            "conflict": [(SR_CLASS, uid)],
        }
        numbers = {name: _ask_of_us(orthanc, items) for name, items in asked.items()}
        assert {_report(orthanc, number)["Status"] for number in numbers.values()} == {"Pending"}
        node.start("send")
        reports = {
            name: wait_until(lambda number=number: _ended(orthanc, number), LONG_S, f"Orthanc is told of {name}")
            for name, number in numbers.items()
        }
    assert reports["safe"]["Status"] == "Success"
    assert [one["SOPInstanceUID"] for one in reports["safe"]["Success"]] == [uid]
    assert reports["some"]["Status"] == "Failure"
    assert [one["SOPInstanceUID"] for one in reports["some"]["Success"]] == [uid]
    assert _failures(reports["some"]) == [("1.2.3.4.5", 0x0112)]
    assert _failures(reports["conflict"]) == [(uid, 0x0119)]


def _failures(report: dict[str, object]) -> list[tuple[str, int]]:
    return [(one["SOPInstanceUID"], one["FailureReason"]) for one in report["Failures"]]  # type: ignore[attr-defined]


def _ask_of_us(orthanc: Orthanc, items: list[tuple[str, str]]) -> str:
    wanted = {"DicomInstances": [{"SOPClassUID": one, "SOPInstanceUID": other} for one, other in items]}
    answer = orthanc.http.post("/modalities/keeper/storage-commitment", json=wanted)
    answer.raise_for_status()
    return str(answer.json()["ID"])


def _report(orthanc: Orthanc, number: str) -> dict[str, object]:
    return dict(orthanc.http.get(f"/storage-commitment/{number}").json())


def _ended(orthanc: Orthanc, number: str) -> dict[str, object] | None:
    report = _report(orthanc, number)
    return report if report["Status"] != "Pending" else None


def test_an_answer_that_comes_after_our_processes_died_is_matched(tmp_path: Path) -> None:
    with CommitmentPacs().running() as pacs:
        there = {"host": "127.0.0.1", "port": pacs.port, "ae_title": "PACS", "sr_class": "comprehensive"}
        with running_node(
            tmp_path, "send", "listen", destinations={"pacs": there | {"commitment": "true"}}, **QUICK
        ) as node:
            record_result(node.settings, node.database)
            wait_until(lambda: pacs.asked, LONG_S, "the PACS is asked")
            for name in ("send", "listen"):
                end_process(node.processes[name], signal.SIGKILL)
            node.start("send", "listen")
            asked = [one for one in pacs.asked if len(one[1]) == 2] or pacs.asked
            for transaction, items in asked:
                assert pacs.report(node.port(), transaction, items, {}) == 0x0000
            _wait_states(node, "committed", "committed")
            assert len(pacs.held) == 2
            events = [row for row in _kinds(node) if row == EventKind.DELIVERY_COMMITTED.value]
            assert len(events) == 2


def _kinds(node: Node) -> list[str]:
    from sqlalchemy import select

    from records.tables import TrailEvent

    with node.database.reading() as session:
        return list(session.scalars(select(TrailEvent.kind)))
