"""A whole node for tests: real processes, real sockets, a folder of its own, ended with the test."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from core.settings import NESTED, PREFIX, Destination, Settings
from core.states import JobState
from dicom_node.scu import Outgoing, SendOutcome, send
from records.database import Database, open_database
from records.migrate import migrate
from records.processes import list_processes
from records.queries import EcgSummary, find_summary
from tests.conftest import ROOT
from tests.servers import end_process, wait_until

READY_S = 240.0
ANSWER_S = 90.0
ENDED = {JobState.DONE, JobState.NOT_DIAGNOSTIC, JobState.FAILED}


def as_environment(given: Mapping[str, object]) -> dict[str, str]:
    """Settings as `ECG_NODE_...` variables; nested mappings become `__`, everything else its text."""
    found: dict[str, str] = {}
    for name, value in given.items():
        if isinstance(value, Mapping):
            inner = as_environment(value)
            found |= {f"{PREFIX}{name.upper()}{NESTED}{key.removeprefix(PREFIX)}": text for key, text in inner.items()}
        else:
            found[f"{PREFIX}{name.upper()}"] = str(value)
    return found


class Node:
    """Processes of a node that share one data folder and one database; `start` and `end` them as the test needs."""

    def __init__(self, folder: Path, **given: object) -> None:
        defaults: dict[str, object] = {
            "data_dir": str(folder),
            "listen_port": 0,
            "demo": "true",
            "disk_reserve_bytes": 0,
            "disk_reserve_fraction": 0,
            "retry_first_s": 0.2,
            "reconcile_s": 0.5,
            "installation": "test",
        }
        self.folder = folder
        self.environment = as_environment(defaults | given)
        self.settings = _settings_of(self.environment)
        self.database: Database = open_database(self.settings)
        migrate(self.database)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *kinds: str, as_name: str = "", **more: object) -> None:
        """Start processes (`listen`, `work`, `send`, ...) and wait until each says in the database that it is ready.

        `as_name` names a second one of a kind; `more` are settings of these processes alone.
        """
        environment = {**os.environ, **self.environment, **as_environment(more), "PYTHONPATH": str(ROOT)}
        for kind in kinds:
            with (self.folder / f"{as_name or kind}.log").open("ab") as log:
                self.processes[as_name or kind] = subprocess.Popen(
                    [sys.executable, "-m", "cli", kind], env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=log
                )
        for kind in kinds:
            self._wait_ready(as_name or kind)

    def _wait_ready(self, name: str) -> None:
        process = self.processes[name]

        def ready() -> bool:
            assert process.poll() is None, f"{name} ended with {process.returncode}: {self.log(name)[-2000:]}"
            return process.pid in {row.pid for row, _ago in list_processes(self.database)}

        wait_until(ready, READY_S, f"{name} is ready")

    def log(self, name: str) -> str:
        """What a process wrote to its log so far."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def port(self, name: str = "listen") -> int:
        """Port on which a listener of this node listens: the plain one, or else that of TLS."""
        pid = self.processes[name].pid
        (address,) = [row.address for row, _ago in list_processes(self.database) if row.pid == pid]
        return int(address.split(", ")[0].rsplit(":", 1)[1])

    def address(self, name: str = "listen") -> Destination:
        """Where to send to."""
        return Destination(host="127.0.0.1", port=self.port(name), ae_title=self.settings.ae_title)

    def push(self, objects: Iterable[Outgoing], calling: str = "CART") -> list[SendOutcome]:
        """Send objects to the listener on one association."""
        return send(self.address(), calling, list(objects), 30.0)

    def summary(self, sop_instance_uid: str) -> EcgSummary | None:
        """What happened to an instance so far."""
        return find_summary(self.database, sop_instance_uid)

    def wait_ended(self, sop_instance_uid: str, deadline_s: float = ANSWER_S) -> EcgSummary:
        """Wait until the job of an instance has ended, in whichever state."""

        def ended() -> EcgSummary | None:
            found = self.summary(sop_instance_uid)
            return found if found is not None and found.state in ENDED else None

        answer: EcgSummary = wait_until(ended, deadline_s, f"{sop_instance_uid} is answered")
        return answer

    def wait_delivered(self, sop_instance_uid: str, deadline_s: float = ANSWER_S) -> EcgSummary:
        """Wait until every report of an instance was accepted by its destination."""

        def delivered() -> EcgSummary | None:
            found = self.summary(sop_instance_uid)
            return found if found is not None and found.delivered else None

        answer: EcgSummary = wait_until(delivered, deadline_s, f"reports of {sop_instance_uid} are delivered")
        return answer

    def close(self) -> None:
        """End every process in the order in which a supervisor would."""
        for name in reversed(self.processes):
            end_process(self.processes[name], deadline_s=40)
        self.database.close()


def _settings_of(environment: Mapping[str, str]) -> Settings:
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(PREFIX)}
    os.environ.update(environment)
    try:
        return Settings()
    finally:
        for name in environment:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def running_node(folder: Path, *kinds: str, **given: object) -> Iterator[Node]:
    """A node with these processes running; `send` first, `listen` last is the order of the supervisor."""
    node = Node(folder, **given)
    try:
        node.start(*kinds)
        yield node
    finally:
        node.close()
