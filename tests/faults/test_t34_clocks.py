"""T34: processes whose clocks are wrong, or are set while they run, lose nothing and keep UTC in the trail.

Seen to fail with leases measured by `datetime.now` in claim_jobs (the fast worker takes what the slow one holds), and
without `_clock_was_set` in Sweep (a file of a transaction that is still running is removed).
"""

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import select, text

from core.settings import Settings
from dicom_node.sweep import SETTLED_S, Sweep
from records.audit import verify_trail
from records.database import Database
from records.tables import Job, TrailEvent
from tests.faults.harness import FaultNode, MakeNode, backends, must_hold
from tests.faults.objects import ecg_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.servers import wait_until
from tests.tally import Report

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, pacs: ScriptedPacs, make_node: MakeNode) -> FaultNode:
    return make_node(request.param, destinations=pacs.destinations, lease_s=600)


def test_clocks_that_are_hours_and_days_apart_change_nothing(
    node: FaultNode, pacs: ScriptedPacs, tally: Report
) -> None:
    began = datetime.now(UTC)
    node.launch("listen", clock_shift_s=DAY)
    node.launch("send", clock_shift_s=-HOUR)
    for name in ("listen", "send"):
        node._wait_ready(name)
    sent = [ecg_object(number) for number in range(6)]
    node.push(sent)
    # The slow worker dies with a claim in its hand: a day ahead its lease would long be over
    assert node.launch("work", as_name="slow", die={"claimed": 1}, clock_shift_s=-HOUR, batch_size=1).wait(90) == -9
    assert _running(node) == 1
    node.launch("work", as_name="fast", clock_shift_s=DAY)
    node._wait_ready("fast")
    wait_until(lambda: _ended(node) == len(sent) - 1, 90, "the fast worker has done the others")
    assert _running(node) == 1
    with node.database.writing() as session:
        session.execute(text("UPDATE job SET lease_until = '2000-01-01 00:00:00' WHERE state = 'running'"))
    must_hold(node, sent, pacs)
    with node.database.reading() as session:
        assert sorted(job.attempt for job in session.scalars(select(Job))) == [1] * (len(sent) - 1) + [2]
        times = [datetime.fromisoformat(at) for at in session.scalars(select(TrailEvent.at).order_by(TrailEvent.seq))]
    assert all(at.utcoffset() == timedelta(0) for at in times)
    assert began - timedelta(seconds=5) < min(times) <= max(times) < datetime.now(UTC) + timedelta(seconds=5)
    assert verify_trail(node.database).fault is None
    tally("T34", cases=len(sent), kills=1)


def _running(node: FaultNode) -> int:
    with node.database.reading() as session:
        return len(session.scalars(select(Job).where(Job.state == "running")).all())


def _ended(node: FaultNode) -> int:
    with node.database.reading() as session:
        return len(session.scalars(select(Job).where(Job.ended_at.is_not(None))).all())


@pytest.mark.parametrize("shift_s", [DAY, HOUR, -HOUR])
def test_a_clock_that_is_set_while_a_file_waits_for_its_row_removes_nothing(
    shift_s: float, database: Database, settings: Settings
) -> None:
    sweep = Sweep(settings.data_dir, database)
    day = settings.data_dir / "received" / datetime.now(UTC).strftime("%Y/%m/%d")
    day.mkdir(parents=True)
    files = [day / "a.part", day / "b.dcm"]
    for file in files:
        file.write_bytes(b"of a transaction that is still running")
    os.utime(files[1], (time.time() + shift_s,) * 2 if shift_s < 0 else None)
    monotonic = time.monotonic()
    with time_machine.travel(time.time() + shift_s, tick=True):
        assert time.monotonic() - monotonic < SETTLED_S
        sweep()
    assert all(file.exists() for file in files)
