"""T06: a database that is locked, restarted, cut off or frozen: A700 in time, no hang, and all goes on by itself.

Seen to fail with connections that wait for a frozen server for ever (`records.database._BoundedConnection.limit_s`),
and on SQLite with a busy_timeout of days: a push hangs for longer than HANG_S.
"""

import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from core.settings import Destination
from dicom_node.scu import Outgoing, send
from dicom_node.statuses import Status
from tests.faults.harness import FaultNode, MakeNode, must_hold
from tests.faults.objects import ecg_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.servers import PostgreSql, running_postgresql, wait_until
from tests.tally import Report

# Far above every limit in the settings, far below for ever
HANG_S = 90.0


@pytest.fixture
def own_postgresql() -> Iterator[PostgreSql]:
    """A cluster that may be restarted and frozen without hurting other tests."""
    # A socket's path may have 107 characters at most
    folder = Path(tempfile.mkdtemp(prefix="pg-t06-", dir="/tmp"))
    try:
        with running_postgresql(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(pacs: ScriptedPacs, make_node: MakeNode) -> MakeNode:
    """Starts a whole node with these settings."""

    def started(**given: object) -> FaultNode:
        node = make_node(destinations=pacs.destinations, **given)
        node.start("send", "work", "listen")
        return node

    return started


def _push(address: Destination, one: Outgoing) -> int | None:
    began = time.monotonic()
    (outcome,) = send(address, "CART", [one], HANG_S)
    assert time.monotonic() - began < HANG_S
    return outcome.status


def _push_until_taken(address: Destination, one: Outgoing) -> None:
    wait_until(lambda: _push(address, one) == Status.SUCCESS, HANG_S, "the ECG is taken again")


@pytest.mark.parametrize(("limit_s", "locked_s"), [(4.0, 6.0), pytest.param(10.0, 30.0, marks=pytest.mark.faults)])
def test_a_locked_sqlite_is_answered_with_a700_and_work_goes_on_when_it_is_free(
    limit_s: float, locked_s: float, start: MakeNode, pacs: ScriptedPacs, tally: Report
) -> None:
    node = start(database_timeout_s=limit_s)
    before, during = ecg_object(1), ecg_object(2)
    address = node.address()
    assert _push(address, before) == Status.SUCCESS
    node.take_bases([before])
    lock = sqlite3.connect(node.folder / "ecg-node.sqlite3", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    free_at = time.monotonic() + locked_s
    refused = 0
    while time.monotonic() < free_at - limit_s:
        assert _push(address, during) == Status.OUT_OF_RESOURCES
        refused += 1
    assert refused
    lock.execute("ROLLBACK")
    lock.close()
    _push_until_taken(address, during)
    must_hold(node, [before, during], pacs)
    must_hold(node, [before, during], pacs, settled=True)
    tally("T06", cases=refused + 2)


def test_a_postgresql_that_is_cut_off_restarted_or_frozen_costs_time_and_no_ecg(
    own_postgresql: PostgreSql, start: MakeNode, pacs: ScriptedPacs, tally: Report
) -> None:
    node = start(database_url=own_postgresql.make_database(), database_timeout_s=4.0)
    address = node.address()
    taken = [ecg_object(1)]
    assert _push(address, taken[0]) == Status.SUCCESS
    node.take_bases(taken)
    for fault in (_terminate_backends, _stop_and_start, _freeze):
        during, after = ecg_object(10 * len(taken)), ecg_object(10 * len(taken) + 1)
        fault(own_postgresql, lambda one=during: _push(address, one))
        _push_until_taken(address, during)
        _push_until_taken(address, after)
        taken += [during, after]
        must_hold(node, taken, pacs)
    node.end("work")
    must_hold(node, taken, pacs, settled=True)
    tally("T06", cases=3, kills=2)


def _terminate_backends(server: PostgreSql, push: Callable[[], int | None]) -> None:
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert push() in (Status.SUCCESS, Status.OUT_OF_RESOURCES)


def _stop_and_start(server: PostgreSql, push: Callable[[], int | None]) -> None:
    server.control("-m", "immediate", "stop")
    try:
        assert push() == Status.OUT_OF_RESOURCES
    finally:
        server.control("start")


def _freeze(server: PostgreSql, push: Callable[[], int | None]) -> None:
    postmaster = server.pid()
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    frozen = [postmaster, *map(int, children)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert push() == Status.OUT_OF_RESOURCES
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
