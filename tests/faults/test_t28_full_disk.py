"""T28: a disk that is full or fails, under received files, the database and results: A700 and nothing kept, and all
goes on by itself when there is room again.

Seen to fail with errors of the file system answered as a fault of our own (0110), and with the temporary file left
behind. To see it fail, too: a worker that counts the attempt when it cannot save a result (`records.jobs.return_job`).
"""

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.states import JobState
from dicom_node.scu import Outgoing
from dicom_node.statuses import Status
from records.tables import Instance
from tests.conftest import need_root, need_tool
from tests.faults.harness import FaultNode, Forks, MakeNode, attempts_of, backends, count_rows, database_of, must_hold
from tests.faults.objects import ecg_object, small_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.servers import end_process, wait_until
from tests.tally import Report

# Calls by which a file is made, written and made durable, and, with SQLite, the row and its event in the trail
LISTENER_FAULTS = (
    "openat:error=ENOSPC",
    "write:error=ENOSPC",
    "write:error=EIO",
    "fsync:error=EIO",
    "fsync:error=ENOSPC",
    "rename:error=EIO",
)
SQLITE_FAULTS = ("pwrite64:error=ENOSPC", "pwrite64:error=EIO", "fdatasync:error=EIO")


@contextmanager
def failing(pid: int, *faults: str) -> Iterator[None]:
    """Let system calls of a running process fail, as a full or broken disk does."""
    names = ",".join(fault.split(":")[0] for fault in faults)
    command = [need_tool("strace"), "-f", "-p", str(pid), "-e", f"trace={names}", "-o", "/dev/null"]
    for fault in faults:
        command += ["-e", f"inject={fault}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert tracer.stderr is not None
    assert b"attached" in tracer.stderr.readline()
    threading.Thread(target=tracer.stderr.read, daemon=True).start()
    try:
        yield
    finally:
        end_process(tracer)


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, make_node: MakeNode) -> FaultNode:
    need_root()
    return make_node(request.param)


def test_a_failing_disk_under_the_listener_is_answered_with_a700_and_nothing_is_kept(
    node: FaultNode, tally: Report
) -> None:
    node.start("listen")
    listener = node.processes["listen"]
    sqlite = node.database.engine.dialect.name == "sqlite"
    faults = LISTENER_FAULTS + (SQLITE_FAULTS if sqlite else ())
    taken = [small_object(0)]
    assert node.push(taken)[0].status == Status.SUCCESS
    node.take_bases()
    for number, fault in enumerate(faults, start=1):
        one = small_object(number)
        with failing(listener.pid, fault):
            (outcome,) = node.push([one])
            assert outcome.status == Status.OUT_OF_RESOURCES, f"{fault}: {outcome}"
        assert count_rows(node.database, Instance) == len(taken), fault
        assert len([path for path in (node.folder / "received").rglob("*") if path.is_file()]) == len(taken), fault
        assert node.push([one])[0].status == Status.SUCCESS, f"after {fault}"
        taken.append(one)
    must_hold(node, taken, answered=False)
    tally("T28", cases=len(faults))


def test_a_failing_disk_under_the_worker_costs_time_and_no_attempt(
    node: FaultNode, tmp_path: Path, tally: Report
) -> None:
    first, ecg = ecg_object(1), ecg_object(2)
    node.start("listen", "work")
    node.push([first])
    node.take_bases([first])
    with failing(node.processes["work"].pid, "fsync:error=ENOSPC"):
        assert node.push([ecg])[0].status == Status.SUCCESS
        wait_until(lambda: "jobs_returned" in node.log("work"), 90, "the worker gives the job back")
    assert node.wait_ended(ecg.sop_instance_uid).state is JobState.DONE
    assert attempts_of(node.database) == [1, 1]
    must_hold(node, [first, ecg])
    tally("T28", cases=1)


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[tuple[list[str], Path]]:
    """A command prefix under which `folder` is a small file system, and the path at which others see it."""
    folder.mkdir()
    script = f"mount -t tmpfs -o size={size} none '{folder}' && echo mounted && exec sleep 3600"
    holder = subprocess.Popen(
        [need_tool("unshare"), "-m", "--propagation", "private", "sh", "-c", script], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n"
        prefix = [need_tool("nsenter"), "-t", str(holder.pid), "-m"]
        yield prefix, Path(f"/proc/{holder.pid}/root{folder}")
    finally:
        end_process(holder)


def test_a_disk_of_eight_megabytes_that_is_filled_up_refuses_and_goes_on_when_it_is_freed(
    request: pytest.FixtureRequest, tmp_path: Path, tally: Report
) -> None:
    need_root()
    with _small_disk(tmp_path / "disk", "8m") as (prefix, seen):
        forks = Forks(prefix)
        pacs = ScriptedPacs(tmp_path / "pacs").start()
        # SQLite would resolve the path through the holder's root, which leads out of it
        database_url = database_of("postgresql", request)
        node = FaultNode(seen / "node", forks, destinations={"there": pacs.destination}, database_url=database_url)
        node.environment["ECG_NODE_DATA_DIR"] = str(tmp_path / "disk" / "node")
        try:
            _fill_and_free(node, seen, pacs, tally)
        finally:
            node.close()
            forks.close()
            pacs.stop()


def _fill_and_free(node: FaultNode, disk: Path, pacs: ScriptedPacs, tally: Report) -> None:
    node.start("send", "work", "listen")
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(5 << 20))
    taken, refused = _push_until_refused(node, [small_object(n, pixels=700) for n in range(40)])
    assert taken
    assert refused is not None
    _fill(ballast)
    assert node.push([small_object(98)])[0].status == Status.OUT_OF_RESOURCES
    assert all(node.processes[name].poll() is None for name in ("listen", "work", "send"))
    ballast.unlink()
    wait_until(lambda: node.push([refused])[0].status == Status.SUCCESS, 60, "the ECG is taken when there is room")
    must_hold(node, [*taken, refused], pacs)
    tally("T28", cases=len(taken) + 2)


def _push_until_refused(node: FaultNode, objects: Sequence[Outgoing]) -> tuple[list[Outgoing], Outgoing | None]:
    taken = []
    for one in objects:
        (outcome,) = node.push([one])
        if outcome.status == Status.OUT_OF_RESOURCES:
            return taken, one
        assert outcome.status == Status.SUCCESS
        taken.append(one)
    return taken, None


def _fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
