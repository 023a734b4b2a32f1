"""A node that can be killed by the hundred, brokers that can be taken away, and what must hold after each fault."""

import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from pydicom import dcmread
from sqlalchemy import select

from cli.check import look_at_all
from cli.supervisor import _valkey_program
from core.errors import PeerAway
from dicom_node.scu import Outgoing, SendOutcome, echo, send
from dicom_node.sweep import Sweep
from records.database import Database
from records.tables import Disposition, Instance, Job
from tests.conftest import ROOT, need_tool
from tests.faults.held import LISTENER_BYTES, Held, base_of, memory_bytes, need_back
from tests.faults.names import CLOCK_SHIFT
from tests.faults.objects import CANARY, data_set_bytes
from tests.node import Node, as_environment
from tests.servers import PostgreSql, end_process, free_port, wait_until
from worker.sweep import ResultSweep

if TYPE_CHECKING:
    from tests.faults.scripted_pacs import ScriptedPacs

BACKENDS = ("sqlite", "postgresql")
ANSWER_S = 120.0
SWEPT_S = 30.0
SR_CLASSES_OF = "1.2.840.10008.5.1.4.1.1.88."


def backends(in_ci: str) -> list[Any]:
    """Both kinds of production parts; CI takes one of them in each module, `make faults` both."""
    return [name if name == in_ci else pytest.param(name, marks=pytest.mark.faults) for name in BACKENDS]


@dataclass
class ForkedProcess:
    """A process that the fork server started; has what tests use of subprocess.Popen."""

    pid: int
    returncode: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired("forked", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Forks:
    """The fork server; `prefix` is a command that it is run under, as `nsenter`."""

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.faults.forks"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._started: queue.Queue[ForkedProcess] = queue.Queue()
        self._known: dict[int, ForkedProcess] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def start(
        self, kind: str, environment: dict[str, str], log: Path, fates: dict[str, dict[str, int]]
    ) -> ForkedProcess:
        request = {"kind": kind, "environment": environment, "log": str(log), **fates}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        return self._started.get(timeout=90)

    def _listen(self) -> None:
        assert self._server.stdout is not None
        early: dict[int, int] = {}
        for line in self._server.stdout:
            answer = json.loads(line)
            if "started" in answer:
                process = ForkedProcess(answer["started"])
                self._known[process.pid] = process
                if process.pid in early:
                    self._end(process, early.pop(process.pid))
                self._started.put(process)
            elif answer["ended"] in self._known and not self._known[answer["ended"]].ended.is_set():
                self._end(self._known[answer["ended"]], answer["status"])
            else:
                early[answer["ended"]] = answer["status"]

    def _end(self, process: ForkedProcess, status: int) -> None:
        process.returncode = status
        process.ended.set()

    def close(self) -> None:
        for process in self._known.values():
            process.kill()
        assert self._server.stdin is not None
        self._server.stdin.close()
        end_process(self._server)


class FaultNode(Node):
    """A node whose processes are forked."""

    def __init__(self, folder: Path, forks: Forks, **given: object) -> None:
        super().__init__(folder, **given)
        self.forks = forks
        self.temporary = folder.parent / f"{folder.name}-tmp"
        self.temporary.mkdir(exist_ok=True)
        self.bases: dict[str, Held] = {}

    def start(self, *kinds: str, as_name: str = "", **more: object) -> None:
        for kind in kinds:
            self.launch(kind, as_name=as_name, **more)
        for kind in kinds:
            self._wait_ready(as_name or kind)

    def launch(
        self,
        kind: str,
        as_name: str = "",
        die: dict[str, int] | None = None,
        freeze: dict[str, int] | None = None,
        loop: dict[str, int] | None = None,
        memory: dict[str, int] | None = None,
        clock_shift_s: float = 0,
        **more: object,
    ) -> ForkedProcess:
        """Start a process without waiting for it.

        `die`, `freeze`, `loop` and `memory` name borders of tests/faults/forks.py and the passing at which it kills or
        stops itself, loops for ever or finds no memory.
        """
        environment = {**self.environment, **as_environment(more), "TMPDIR": str(self.temporary)}
        environment[CLOCK_SHIFT] = str(clock_shift_s)
        fates = {"SIGKILL": die or {}, "SIGSTOP": freeze or {}, "LOOP": loop or {}, "MEMORY": memory or {}}
        process = self.forks.start(kind, environment, self.folder / f"{as_name or kind}.log", fates)
        self.processes[as_name or kind] = process  # type: ignore[assignment]
        return process

    def push_within(self, objects: Iterable[Outgoing], timeout_s: float) -> list[SendOutcome]:
        """As push, with another patience."""
        return send(self.address(), "CART", list(objects), timeout_s)

    def take_bases(self, first: Iterable[Outgoing] = ()) -> None:
        """What each process holds at rest, after its `first` ECGs were pushed: to be held again after a fault (I7).

        Waits until they are delivered where a sender runs, or answered where a worker does. A process of the same name
        that is started later is held to it, too.
        """
        wait = {"send": self.wait_delivered, "work": self.wait_ended}
        for one in first:
            for kind in [kind for kind in wait if kind in self.processes][:1]:
                wait[kind](one.sop_instance_uid)
        self.bases |= {name: base_of(one.pid, self.settings) for name, one in self.alive().items()}

    def need_bases(self) -> None:
        """Every process that is alive holds what it held before the fault (I7)."""
        for name, process in self.alive().items():
            if name in self.bases:
                need_back(process.pid, self.bases[name], self.settings, name)
            if name.startswith("listen"):
                assert memory_bytes(process.pid) < LISTENER_BYTES

    def alive(self) -> dict[str, "subprocess.Popen[bytes]"]:
        """Processes that were started and have not ended."""
        return {name: process for name, process in self.processes.items() if process.poll() is None}

    def kill(self, name: str) -> None:
        """SIGKILL, and wait for the end."""
        process = self.processes[name]
        process.kill()
        process.wait(30)

    def end(self, name: str) -> int:
        """SIGTERM, and wait for the end; the exit code."""
        return end_process(self.processes.pop(name), deadline_s=60)

    def freeze(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
        super().close()


# Makes a node on a database of a kind, `make_node("postgresql", lease_s=1)`; closed with the test
MakeNode = Callable[..., FaultNode]


@dataclass
class Broker:
    """A Redis or Valkey of the test's own."""

    program: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> "redis.Redis[bytes]":
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        options += ["--appendonly", "yes", "--maxmemory-policy", "noeviction", "--logfile", str(self.folder / "log")]
        self.process = subprocess.Popen([self.program, *options], stdin=subprocess.DEVNULL)
        wait_until(self._answers, 60, "the broker answers")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        end_process(self.process, signal.SIGKILL)

    def everything(self) -> bytes:
        """All keys and values, for a search."""
        client = self.client
        return b"\n".join(key + (client.dump(key) or b"") for key in client.scan_iter())


def broker_of(backend: str, folder: Path) -> Broker:
    """Valkey out of its wheel as the embedded broker is, Redis beside PostgreSQL."""
    program = str(_valkey_program()) if backend == "sqlite" else need_tool("redis-server")
    return Broker(program, folder, free_port())


@contextmanager
def running_broker(backend: str, folder: Path) -> Iterator[Broker]:
    broker = broker_of(backend, folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


def database_of(backend: str, request: pytest.FixtureRequest) -> str:
    """Address of a new database of a kind."""
    if backend == "sqlite":
        return ""
    server: PostgreSql = request.getfixturevalue("postgresql")
    return server.make_database()


def must_hold(
    node: Node,
    acknowledged: Iterable[Outgoing],
    pacs: "ScriptedPacs | None" = None,
    *,
    answered: bool = True,
    settled: bool = False,
    broker: Broker | None = None,
    limit_s: float = 3600.0,
) -> None:
    """Invariants I1-I8; `answered` waits for every answer, `settled` lets time pass and sweeps what a crash left."""
    sent = list(acknowledged)
    if answered:
        for one in sent:
            node.wait_ended(one.sop_instance_uid, ANSWER_S)
            if pacs is not None:
                node.wait_delivered(one.sop_instance_uid, ANSWER_S)
    if settled:
        sweep_as_if_later(node)
    _each_is_kept_once(node.database, node.folder, sent)
    assert _findings(node, limit_s) == {}
    if pacs is not None:
        _each_is_answered_once(pacs, sent, need_all=answered)
    if "listen" in node.processes and node.processes["listen"].poll() is None:
        wait_until(lambda: _echoes(node), 60, "the listener answers C-ECHO within 2 s")
    if isinstance(node, FaultNode):
        node.need_bases()
    _no_patient_data_outside(node, broker)


def _findings(node: Node, limit_s: float) -> dict[str, tuple[str, ...]]:
    """What `ecg-node check` finds; what a crash left a minute ago may have to wait for the next sweep."""
    end = time.monotonic() + SWEPT_S
    while True:
        looks = look_at_all(node.settings, node.database, limit_s)
        findings = {look.what: look.findings for look in looks if look.findings}
        if not findings or time.monotonic() > end:
            return findings
        time.sleep(1)


def _each_is_kept_once(database: Database, folder: Path, sent: Sequence[Outgoing]) -> None:
    """I1: one row, one file, one job, equal content."""
    with database.reading() as session:
        rows = defaultdict(list)
        for row in session.scalars(select(Instance).where(Instance.disposition == Disposition.ACCEPTED.value)):
            rows[row.sop_instance_uid].append(row)
        jobs = defaultdict(int)
        for ecg_id in session.scalars(select(Job.ecg_id)):
            jobs[ecg_id] += 1
    for one in sent:
        found = rows[one.sop_instance_uid]
        assert len(found) == 1, f"{one.sop_instance_uid} was acknowledged and has {len(found)} rows"
        content = data_set_bytes(one)
        assert found[0].content_sha256 == sha256(content).hexdigest()
        assert (folder / found[0].path).read_bytes().endswith(content)
        assert jobs[found[0].id] == 1


def _each_is_answered_once(pacs: "ScriptedPacs", sent: Sequence[Outgoing], need_all: bool) -> None:
    """I4 and I5: one SR an input, its copies equal, about the right patient, study and instance."""
    copies = defaultdict(set)
    for uid, digest in pacs.kept:
        copies[uid].add(digest)
    assert {uid for uid, digests in copies.items() if len(digests) > 1} == set(), "sent again with other bytes"
    reports = defaultdict(list)
    for path in pacs.folder.glob("*.dcm"):
        report = dcmread(path, stop_before_pixels=True)
        if str(report.SOPClassUID).startswith(SR_CLASSES_OF):
            evidence = report.CurrentRequestedProcedureEvidenceSequence
            for item in (item for study in evidence for series in study.ReferencedSeriesSequence
                         for item in series.ReferencedSOPSequence):  # fmt: skip
                reports[item.ReferencedSOPInstanceUID].append(report)
    for one in sent:
        found = reports[one.sop_instance_uid]
        assert len(found) <= 1, f"{one.sop_instance_uid} was answered {len(found)} times"
        assert found or not need_all, f"{one.sop_instance_uid} was not answered"
        source = dcmread(one.path or io.BytesIO(one.content or b""), stop_before_pixels=True)
        for report in found:
            for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
                assert report.get(keyword) == source.get(keyword), keyword


def _echoes(node: Node) -> bool:
    began = time.monotonic()
    try:
        echo(node.address(), "PROBE", 10.0)
    except PeerAway:
        return False
    return time.monotonic() - began < 2


def _no_patient_data_outside(node: Node, broker: Broker | None) -> None:
    """I8: the canary is in no log, no temporary file and not in the broker."""
    canary = CANARY.encode()
    places = list(node.folder.glob("*.log"))
    if isinstance(node, FaultNode):
        places += [path for path in node.temporary.rglob("*") if path.is_file()]
    assert [str(path) for path in places if canary in path.read_bytes()] == []
    if broker is not None and broker.process is not None and broker.process.poll() is None:
        assert canary not in broker.everything()


def sweep_as_if_later(node: Node) -> None:
    """What the sweeps of listener and worker do a minute after a crash, without the minute."""
    then = time.time() - 120
    for folder in ("received", "results"):
        for path in (node.folder / folder).rglob("*"):
            if path.is_file():
                os.utime(path, (then, then))
    for path in node.folder.glob("*.part"):
        os.utime(path, (then, then))
    Sweep(node.folder, node.database)()
    ResultSweep(node.folder, node.database)()


def count_rows(database: Database, table: type) -> int:
    with database.reading() as session:
        return len(session.scalars(select(table)).all())


def attempts_of(database: Database) -> list[int]:
    with database.reading() as session:
        return list(session.scalars(select(Job.attempt)))
