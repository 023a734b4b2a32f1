"""A listener under attack: what must hold while it lasts and after it."""

import time
from pathlib import Path

from dicom_node.scu import echo
from tests.faults import raw
from tests.faults.held import LISTENER_BYTES, base_of, memory_bytes, need_back
from tests.node import Node

ECHO_S = 2.0
SIGNS = ("Traceback", "store_raised", "thread_died")


class Attacked:
    """A running listener with its figures before the attack."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.pid = node.processes["listen"].pid
        self.port = node.port()
        self.echo_s()
        self._base = base_of(self.pid, node.settings)
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
        """Threads and descriptors are back at their base, and the process is the same one."""
        need_back(self.pid, self._base, self.node.settings, "listen", deadline_s)
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
