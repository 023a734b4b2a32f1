"""What a process holds, as the kernel counts it: threads, descriptors and memory. Invariant I7.

Seen to fail with a descriptor left open by each connection of the listener (`BoundedSocket._shutdown_socket`, T07: 9
before, 16 after), by each association of the sender (`dicom_node.scu.association`, T29: 7 before, 22 after), and by
each round that found no database (`core.rounds.Rounds._round`, T06 on PostgreSQL: 5 before, 79 after).
"""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from core.settings import Settings
from records.database import database_address
from tests.servers import wait_until

SPARE = 2
LISTENER_BYTES = 512 << 20  # never more, whatever is sent
QUIET_S = 1.0  # unchanged for so long, a process is at rest


@dataclass(frozen=True, slots=True)
class Held:
    """Threads, memory, and open descriptors but for those of the database's pool, which keeps what it needed once."""

    threads: int
    descriptors: int
    memory_bytes: int

    def is_back_at(self, base: "Held") -> bool:
        """Whether the faults since `base` left nothing behind, and ended no thread.

        Fewer descriptors are no fault: a connection that broke opens when it is needed again.
        """
        return abs(self.threads - base.threads) <= SPARE and self.descriptors <= base.descriptors + SPARE


def memory_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held_by(pid: int, settings: Settings) -> Held:
    """What a process of a node with these settings holds now."""
    url = make_url(database_address(settings))
    pool = _sockets_to(pid, url.port or 0)
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            targets.append(os.readlink(link))
    ours = [target for target in targets if target not in pool and ".sqlite3" not in target]
    return Held(len(os.listdir(f"/proc/{pid}/task")), len(ours), memory_bytes(pid))


def _sockets_to(pid: int, port: int) -> set[str]:
    """Sockets in the network of a process that are connected to a port, as its descriptors name them."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if port and int(row[2].rsplit(":", 1)[1], 16) == port}


def base_of(pid: int, settings: Settings, deadline_s: float = 60.0) -> Held:
    """What a process holds at rest: the same for a while, after its first work."""
    last = held_by(pid, settings)
    since = time.monotonic()

    def is_quiet() -> bool:
        nonlocal last, since
        now = held_by(pid, settings)
        if (now.threads, now.descriptors) != (last.threads, last.descriptors):
            since = time.monotonic()
        last = now
        return time.monotonic() - since > QUIET_S

    wait_until(is_quiet, deadline_s, f"process {pid} is at rest")
    return last


def need_back(pid: int, base: Held, settings: Settings, name: str, deadline_s: float = 60.0) -> None:
    """Wait until a process is back at its base. Fails with what it held before and holds now."""
    now = base

    def is_back() -> bool:
        nonlocal now
        now = held_by(pid, settings)
        return now.is_back_at(base)

    try:
        wait_until(is_back, deadline_s, f"I7: {name} is back at {base}")
    finally:
        print(f"{name} holds {now}")
