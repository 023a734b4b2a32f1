"""T32: more associations at once than there are places: each is served, or rejected cleanly and served when it comes
again.

Seen to fail with a listener that drops connections above its limit instead of rejecting them.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from dicom_node.scu import Outgoing
from records.tables import Instance
from tests.conftest import need_tool
from tests.faults.harness import FaultNode, MakeNode, backends, count_rows, must_hold
from tests.faults.objects import small_object, write
from tests.tally import Report

PLACES = 16


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, make_node: MakeNode) -> FaultNode:
    made = make_node(
        request.param,
        max_associations=PLACES,
        max_associations_per_address=PLACES,
        association_timeout_s=60,
        idle_timeout_s=600,
    )
    made.start("listen")
    return made


@pytest.mark.parametrize("number", [60, pytest.param(500, marks=pytest.mark.faults)])
def test_many_associations_at_once_are_served_or_rejected_and_served_later(
    number: int, node: FaultNode, tmp_path: Path, tally: Report
) -> None:
    waiting = [write(small_object(n), tmp_path) for n in range(number)]
    sent = list(waiting)
    node.push(sent[:1])
    node.take_bases()
    with _every_place_taken(node.port()):
        assert {said for _one, said in _send_all_at_once(node.port(), waiting[:5])} == {"Local Limit Exceeded"}
    for _again in range(number):
        outcomes = _send_all_at_once(node.port(), waiting)
        left = [one for one, said in outcomes if said != "Success"]
        assert {said for _one, said in outcomes} <= {"Success", "Local Limit Exceeded"}
        waiting = left
        if not waiting:
            break
    must_hold(node, sent, answered=False)
    assert count_rows(node.database, Instance) == number
    assert len(list((node.folder / "received").rglob("*.dcm"))) == number
    tally("T32", cases=number)


@contextmanager
def _every_place_taken(port: int) -> Iterator[None]:
    ae = AE("HOLDER")
    ae.add_requested_context(Verification)
    held = [ae.associate("127.0.0.1", port, ae_title="ECGNODE") for _ in range(PLACES)]
    assert all(assoc.is_established for assoc in held)
    yield
    for assoc in held:
        assoc.release()


def _send_all_at_once(port: int, objects: list[Outgoing]) -> list[tuple[Outgoing, str]]:
    command = [
        need_tool("storescu"),
        "-v",
        "-aec",
        "ECGNODE",
        "-xe",
        "-to",
        "120",
        "-ta",
        "120",
        "127.0.0.1",
        str(port),
    ]
    running = [
        subprocess.Popen([*command, str(one.path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for one in objects
    ]
    return [(one, _said(process.communicate(timeout=300)[0])) for one, process in zip(objects, running, strict=True)]


def _said(output: str) -> str:
    found = re.findall(r"Received Store Response \(([^)]*)\)|Reason: (.*)", output)
    return " ".join("".join(one) for one in found) or output[-300:]
