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
from tests.servers import end_process
from tests.tally import Report

PLACES = 16
PATIENCE_S = 600  # hundreds of programs that start at once on a busy machine


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, make_node: MakeNode) -> FaultNode:
    made = make_node(
        request.param,
        max_associations=PLACES,
        max_associations_per_address=PLACES,
        association_timeout_s=PATIENCE_S,
        idle_timeout_s=PATIENCE_S,
        database_timeout_s=120,
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
    # All of them first, then those that were turned away, still more at once than there are places
    together = number
    while waiting:
        outcomes = _send_all_at_once(node.port(), waiting[:together])
        assert {said for _one, said in outcomes} <= {"Success", "Local Limit Exceeded"}
        taken = {one.sop_instance_uid for one, said in outcomes if said == "Success"}
        assert taken, "not one of them was served"
        waiting = [one for one in waiting if one.sop_instance_uid not in taken]
        together = 3 * PLACES
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
    patience = [word for option in ("-to", "-ta", "-td") for word in (option, str(PATIENCE_S))]
    command = [need_tool("storescu"), "-v", "-aec", "ECGNODE", "-xe", *patience, "127.0.0.1", str(port)]
    running = [
        subprocess.Popen([*command, str(one.path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for one in objects
    ]
    try:
        said = [_said(process.communicate(timeout=2 * PATIENCE_S)[0]) for process in running]
    finally:
        for process in running:
            end_process(process)
    return list(zip(objects, said, strict=True))


def _said(output: str) -> str:
    found = re.findall(r"Received Store Response \(([^)]*)\)|Reason: (.*)", output)
    return " ".join("".join(one) for one in found) or output[-300:]
