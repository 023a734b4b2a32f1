"""T40: a soak of mixed senders and seeded faults: `python -m tests.faults.soak --minutes 120 --seed 1`.

A node of real processes runs under traffic; now and then one of them is killed or ended and started again, or the
broker is flushed. For the last third nothing is killed, so that a leak can grow. At the end all that was acknowledged
must have been answered once, and threads, descriptors and memory must be what they were before that third.
"""

import argparse
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from dicom_node.scu import Outgoing, Verdict
from records.tables import Job
from tests.faults.fuzz import exchange
from tests.faults.harness import Broker, FaultNode, Forks, must_hold, running_broker
from tests.faults.held import memory_bytes
from tests.faults.objects import ecg_object, small_object
from tests.faults.raw import Peer
from tests.faults.scripted_pacs import ScriptedPacs
from tests.servers import wait_until
from tests.tally import Row, save_rows

PAUSE_S = (0.05, 0.5)  # between two pushes of a sender
FAULT_S = (2.0, 8.0)  # between two faults
SENDERS = 3
WARM = 20
MOST_WAITING = 60  # unanswered ECGs at which senders wait: a soak is no race with a slow machine
FAULTY = 2 / 3  # of the time with faults; in the rest no process is killed
FLAT, SLACK_BYTES = 1.25, 64 << 20  # most growth of a process's memory in the time without faults
SPARE = 3  # threads and descriptors that may be more, as a pool of the database's connections opens
QUIET_S = 90.0
KINDS = ("listen", "work", "send")


@dataclass
class Soak:
    """Counts of a soak."""

    seed: int
    acknowledged: list[Outgoing] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kills(self) -> int:
        return sum(count for what, count in self.counts.items() if what.startswith("kill "))

    def note(self, what: str, one: Outgoing | None = None) -> None:
        with self.lock:
            self.counts[what] += 1
            if one is not None:
                self.acknowledged.append(one)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a process holds while it has nothing to do."""

    threads: int
    descriptors: int
    memory: int

    def grew_from(self, base: "Figures") -> bool:
        held = self.threads > base.threads + SPARE or self.descriptors > base.descriptors + SPARE
        return held or self.memory > FLAT * base.memory + SLACK_BYTES


def _figures(pid: int) -> Figures:
    process = Path(f"/proc/{pid}")
    return Figures(len(list((process / "task").iterdir())), len(list((process / "fd").iterdir())), memory_bytes(pid))


def _send_all_the_time(node: FaultNode, soak: Soak, number: int, stop: threading.Event, pause: threading.Event) -> None:
    chance = random.Random(f"{soak.seed}/sender/{number}")
    count = 0
    while not stop.wait(chance.uniform(*PAUSE_S)):
        if pause.is_set() or _unanswered(node) > MOST_WAITING:
            continue
        count += 1
        if chance.random() < 0.1:
            _fuzz(node, soak, count, chance)
            continue
        make = ecg_object if chance.random() < 0.5 else small_object
        one = make(number * 1_000_000 + count)
        try:
            (outcome,) = node.push_within([one], 30.0)
        except (OSError, ValueError, LookupError, AssertionError):
            soak.note("no listener")  # between its death and its next start
            continue
        if outcome.verdict is Verdict.DELIVERED:
            soak.note("acknowledged", one)
        else:
            soak.note("not acknowledged")


def _unanswered(node: FaultNode) -> int:
    with node.database.reading() as session:
        return session.scalar(select(func.count()).where(Job.ended_at.is_(None))) or 0


def _fuzz(node: FaultNode, soak: Soak, case: int, chance: random.Random) -> None:
    try:
        with Peer(node.port(), 10.0) as peer:
            peer.associate()
            peer.socket.sendall(exchange(case, chance.randrange(1 << 30)))
            peer.is_closed_within(5.0)
    except (OSError, EOFError, ValueError, LookupError, AssertionError):
        pass
    soak.note("fuzzed")


def _faults(node: FaultNode, pacs: ScriptedPacs, flush: Callable[[], None]) -> dict[str, Callable[[], None]]:
    def killed(kind: str) -> Callable[[], None]:
        def act() -> None:
            node.kill(kind)
            node.start(kind)

        return act

    def ended(kind: str) -> Callable[[], None]:
        def act() -> None:
            node.end(kind)
            node.start(kind)

        return act

    faults = {f"kill {kind}": killed(kind) for kind in ("listen", "work", "send")}
    faults |= {f"end {kind}": ended(kind) for kind in ("listen", "work", "send")}
    return {**faults, "flush broker": flush}


def run_soak(folder: Path, minutes: float, seed: int) -> Soak:
    """Run, wait until all is answered, check the invariants. Raises AssertionError naming what does not hold."""
    soak, stop, pause = Soak(seed), threading.Event(), threading.Event()
    forks, chance = Forks(), random.Random(seed)
    pacs = ScriptedPacs(folder / "pacs").start()
    with running_broker("sqlite", folder / "broker") as broker:
        node = FaultNode(
            folder / "node",
            forks,
            broker_url=broker.url,
            destinations={"there": pacs.destination},
            lease_s=5,
            max_attempts=10,
            send_timeout_s=5,
            idle_timeout_s=10,
        )
        senders = [
            threading.Thread(target=_send_all_the_time, args=(node, soak, number, stop, pause))
            for number in range(SENDERS)
        ]
        try:
            node.start("send", "work", "listen")
            for thread in senders:
                thread.start()
            _do_faults(_faults(node, pacs, lambda: broker.client.flushall() and None), soak, chance, minutes * FAULTY)
            _traffic_alone(node, soak, pacs, broker, pause, minutes * (1 - FAULTY))
        finally:
            stop.set()
            for thread in senders:
                thread.join()
            node.close()
            pacs.stop()
            forks.close()
    return soak


def _do_faults(faults: dict[str, Callable[[], None]], soak: Soak, chance: random.Random, minutes: float) -> None:
    end = time.monotonic() + 60 * minutes
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(chance.uniform(*FAULT_S), left))
        name = chance.choice(sorted(faults))
        faults[name]()
        soak.note(name)


def _traffic_alone(
    node: FaultNode, soak: Soak, pacs: ScriptedPacs, broker: Broker, pause: threading.Event, minutes: float
) -> None:
    """Let nothing but traffic happen, and compare what each process holds before and after it."""

    def settle() -> None:
        pause.set()
        must_hold(node, soak.acknowledged, pacs, broker=broker)

    _warm_up(soak)
    settle()
    base = {kind: _figures(node.processes[kind].pid) for kind in KINDS}
    pause.clear()
    time.sleep(60 * minutes)
    settle()
    for kind, before in base.items():

        def is_as_before(pid: int = node.processes[kind].pid, before: Figures = before) -> bool:
            return not _figures(pid).grew_from(before)

        said = f"{kind} holds what it held, {before}"
        wait_until(is_as_before, QUIET_S, said)
        print(f"{said}: {_figures(node.processes[kind].pid)}", flush=True)


def _warm_up(soak: Soak) -> None:
    """Wait until processes that were started last have worked."""
    enough = soak.counts["acknowledged"] + WARM
    wait_until(lambda: soak.counts["acknowledged"] >= enough, QUIET_S, "senders are heard")


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    given, began = parser.parse_args(), time.monotonic()
    print(f"seed {given.seed}, {given.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="ecg-node-soak-") as folder:
        soak = run_soak(Path(folder), given.minutes, given.seed)
    for what, count in sorted(soak.counts.items()):
        print(f"{what}: {count}")
    print("every acknowledged ECG was kept and answered exactly once")
    row = Row(tests=1, cases=soak.counts["acknowledged"], kills=soak.kills, seconds=time.monotonic() - began)
    save_rows({"T40": row}, given.seed)


if __name__ == "__main__":
    main()
