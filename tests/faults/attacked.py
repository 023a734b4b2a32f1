"""A listener under attack: what must hold while it lasts and after it."""

import contextlib
import os
import time
from pathlib import Path

from dicom_node.scu import echo
from tests.faults import raw
from tests.node import Node
from tests.servers import wait_until

LISTENER_BYTES = 512 << 20
ECHO_S = 2.0
SPARE = 2
SIGNS = ("Traceback", "store_raised", "thread_died")


def memory_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def counts(pid: int) -> tuple[int, int]:
    """Threads and open sockets of a process; the database's pool opens and keeps as many files as it needs."""
    sockets = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            sockets += os.readlink(link).startswith("socket:")
    return len(os.listdir(f"/proc/{pid}/task")), sockets


class Attacked:
    """A running listener with its figures before the attack."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.pid = node.processes["listen"].pid
        self.port = node.port()
        self.echo_s()
        self._base = counts(self.pid)
        self.seen_from = len(node.log("listen"))

    def echo_s(self) -> float:
        """Seconds that another peer's association with C-ECHO takes now."""
        began = time.monotonic()
        echo(self.node.address(), "CART", 30.0)
        return time.monotonic() - began

    def answers_others(self) -> None:
        """Another peer is served while the attack lasts. The first try may meet the machine at its busiest."""
        assert min(self.echo_s() for _ in range(3)) < ECHO_S
        assert memory_bytes(self.pid) < LISTENER_BYTES

    def is_as_before(self, deadline_s: float = 60.0) -> None:
        """Threads and sockets are back at their base, and the process is the same one."""
        threads, sockets = self._base

        def back() -> bool:
            now = counts(self.pid)
            return now[0] <= threads + SPARE and now[1] <= sockets + SPARE

        wait_until(back, deadline_s, f"threads and sockets are back at {self._base}")
        assert self.node.processes["listen"].poll() is None
        assert self.echo_s() < 10 * ECHO_S

    def raised(self) -> list[str]:
        """Lines of the log, since the attack began, that tell of an exception nobody handled."""
        log = self.node.log("listen")[self.seen_from :]
        return [line for line in log.splitlines() if any(sign in line for sign in SIGNS)]

    def files(self) -> list[Path]:
        """Everything that the listener keeps of what it received."""
        return sorted(path for path in (self.node.folder / "received").rglob("*") if path.is_file())


def established(port: int, **request: object) -> raw.Peer:
    """A peer with an association that was accepted."""
    peer = raw.Peer(port)
    answer = peer.associate(**request)
    assert answer.kind == 2, answer
    return peer
