"""T01: the listener is killed at every system call of the accept path; what it acknowledged is kept, and no row is
without its file.

A first push is traced, and each of its system calls is then killed in a push of its own. strace counts the calls of a
kind in each thread by itself. Seen to fail with files that are saved by a thread, a moment after the row.
"""

import contextlib
import random
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from dicom_node.scu import Outgoing
from tests.conftest import need_root, need_tool
from tests.faults.harness import FaultNode, MakeNode, backends, must_hold
from tests.faults.objects import small_object
from tests.servers import end_process
from tests.tally import Report

# What taking an ECG in is made of: files, the database's file or socket, and the answer to the sender. Polls and
# sleeps, whose number depends on time, are left out
CALLS = (
    "openat,mkdir,write,writev,pwrite64,fsync,fdatasync,rename,unlink,ftruncate,fcntl,close,lseek,pread64,read,"
    "sendto,recvfrom,statfs,newfstatat"
)
IN_CI = 10


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, make_node: MakeNode) -> FaultNode:
    need_root()
    return make_node(request.param)


@pytest.mark.parametrize("most", [IN_CI, pytest.param(10**6, marks=pytest.mark.faults)])
def test_a_kill_at_any_system_call_loses_nothing_that_was_acknowledged(
    most: int, node: FaultNode, tally: Report, seed: int, tmp_path: Path
) -> None:
    acknowledged, kills = [small_object(-1), small_object(-2)], 0
    _push_traced(node, acknowledged[0], tmp_path / "first")  # makes the day's folder
    counts = _push_traced(node, acknowledged[1], tmp_path / "second")
    assert {"openat", "fsync", "rename"} <= set(counts)
    points = [(call, number) for call, count in sorted(counts.items()) for number in range(1, count + 1)]
    if len(points) > most:
        points = random.Random(seed).sample(points, most)
    for object_number, (call, number) in enumerate(points):
        one = small_object(object_number)
        killed, status = _push_while_killing(node, one, call, number)
        kills += killed
        if status == 0:
            acknowledged.append(one)
        assert killed or status == 0, "nothing was killed, and yet the ECG was not taken"
    # A page that is cached, or a kill after the answer that comes too late to be seen, leaves some alive
    assert kills >= len(points) // 2
    must_hold(node, acknowledged, answered=False)
    node.start("listen")
    again = acknowledged[:3]
    assert [outcome.status for outcome in node.push(again)] == [0] * len(again)
    must_hold(node, acknowledged, answered=False, settled=True)
    tally("T01", cases=len(points), kills=kills)


def _push_traced(node: FaultNode, one: Outgoing, log: Path) -> Counter[str]:
    """How often the busiest thread made each system call while one object was taken in."""
    node.start("listen")
    tracer = _attach(node.processes["listen"].pid, "-o", str(log))
    assert node.push([one])[0].status == 0
    end_process(tracer)
    node.kill("listen")
    by_thread = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
    counts: Counter[str] = Counter()
    for (_thread, call), count in by_thread.items():
        counts[call] = max(counts[call], count)
    return counts


def _attach(pid: int, *options: str) -> subprocess.Popen[bytes]:
    command = [need_tool("strace"), "-f", "-p", str(pid), "-e", f"trace={CALLS}", *options]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    assert b"attached" in line, line
    return tracer


def _push_while_killing(node: FaultNode, one: Outgoing, call: str, number: int) -> tuple[bool, int | None]:
    """Push one object to a listener that is killed at its `number`-th `call`; whether it was, and the answer."""
    node.start("listen")
    listener = node.processes["listen"]
    tracer = _attach(listener.pid, "-e", f"inject={call}:signal=SIGKILL:when={number}", "-o", "/dev/null")
    try:
        status = node.push([one])[0].status
        # A kill in the last calls may come after the answer
        with contextlib.suppress(subprocess.TimeoutExpired):
            listener.wait(0.3 if status == 0 else 60)
        return listener.poll() is not None, status
    finally:
        node.kill("listen")
        end_process(tracer)
