"""T31: one instance sent 50 times by 20 senders at once is one ECG; another content under its UID is kept and judged by
nobody.

Seen to fail with `records.instances._judge` without its look at what is known.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from core.states import EventKind
from records.tables import Disposition, Instance, Job, TrailEvent
from tests.faults.harness import FaultNode, MakeNode, backends, count_rows, must_hold
from tests.faults.objects import ecg_object, small_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.tally import Report

SENDERS = 20


@pytest.fixture(params=backends("postgresql"))
def node(request: pytest.FixtureRequest, pacs: ScriptedPacs, make_node: MakeNode) -> FaultNode:
    made = make_node(request.param, destinations=pacs.destinations)
    made.start("send", "work", "listen")
    return made


@pytest.mark.parametrize("times", [25, pytest.param(50, marks=pytest.mark.faults)])
def test_one_instance_from_many_senders_is_one_ecg_with_one_report(
    times: int, node: FaultNode, pacs: ScriptedPacs, tally: Report
) -> None:
    ecg = ecg_object()
    address = node.address()
    warm = ecg_object(1)
    assert _send(address, "CART", warm) == 0
    node.take_bases([warm])
    with ThreadPoolExecutor(SENDERS) as pool:
        outcomes = list(pool.map(lambda n: _send(address, f"CART{n}", ecg), range(times)))
    assert outcomes == [0] * times
    must_hold(node, [warm, ecg], pacs)
    assert (count_rows(node.database, Instance), count_rows(node.database, Job)) == (2, 2)
    assert len(list((node.folder / "received").rglob("*.dcm"))) == 2
    assert _events(node) == {EventKind.INSTANCE_RECEIVED: 2, EventKind.INSTANCE_RESENT: times - 1}
    tally("T31", cases=times)


def test_other_contents_under_one_uid_are_kept_without_an_answer(
    node: FaultNode, pacs: ScriptedPacs, tally: Report
) -> None:
    first = ecg_object()
    others = [small_object(n, like=first) for n in range(5)]
    assert [outcome.status for outcome in node.push([first])] == [0]
    address = node.address()
    with ThreadPoolExecutor(SENDERS) as pool:
        outcomes = list(pool.map(lambda one: _send(address, "CART", one), others * 4))
    assert outcomes == [0] * 20
    must_hold(node, [first], pacs)
    with node.database.reading() as session:
        kinds = dict(session.execute(select(Instance.disposition, func.count()).group_by(Instance.disposition)).all())
    assert kinds == {Disposition.ACCEPTED: 1, Disposition.CONFLICT: 5}
    assert count_rows(node.database, Job) == 1
    assert len(list((node.folder / "received").rglob("*.dcm"))) == 6
    assert _events(node)[EventKind.CONTENT_CONFLICT] == 5
    tally("T31", cases=20)


def _send(address: object, calling: str, one: object) -> int | None:
    from dicom_node.scu import send

    (outcome,) = send(address, calling, [one], 60.0)  # type: ignore[arg-type, list-item]
    return outcome.status


def _events(node: FaultNode) -> dict[str, int]:
    arrivals = [EventKind.INSTANCE_RECEIVED, EventKind.INSTANCE_RESENT, EventKind.CONTENT_CONFLICT]
    with node.database.reading() as session:
        query = select(TrailEvent.kind, func.count()).where(TrailEvent.kind.in_(arrivals)).group_by(TrailEvent.kind)
        return dict(session.execute(query).all())
