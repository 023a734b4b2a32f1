"""T40: a soak of mixed senders and seeded faults: `python -m tests.faults.soak --minutes 120 --seed 1`.

A node of real processes runs under traffic; now and then one of them is killed or ended and started again, or the
broker is flushed. At the end all that was acknowledged must have been answered once, and memory must be flat.
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

from dicom_node.scu import Outgoing, Verdict
from tests.faults.attacked import memory_bytes
from tests.faults.fuzz import exchange
from tests.faults.harness import FaultNode, Forks, must_hold, running_broker
from tests.faults.objects import ecg_object, small_object
from tests.faults.raw import Peer
from tests.faults.scripted_pacs import ScriptedPacs
from tests.tally import Row, save_rows

PAUSE_S = (0.05, 0.5)  # between two pushes of a sender
FAULT_S = (2.0, 8.0)  # between two faults
SENDERS = 3
FLAT = 1.5  # most growth of a process's memory after its first minute


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


def _send_all_the_time(node: FaultNode, soak: Soak, number: int, stop: threading.Event) -> None:
    chance = random.Random(f"{soak.seed}/sender/{number}")
    count = 0
    while not stop.wait(chance.uniform(*PAUSE_S)):
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
    soak, stop = Soak(seed), threading.Event()
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
        )
        try:
            node.start("send", "work", "listen")
            faults = _faults(node, pacs, lambda: broker.client.flushall() and None)
            threads = [
                threading.Thread(target=_send_all_the_time, args=(node, soak, number, stop))
                for number in range(SENDERS)
            ]
            for thread in threads:
                thread.start()
            end = time.monotonic() + 60 * minutes
            while not stop.wait(min(chance.uniform(*FAULT_S), max(0.0, end - time.monotonic()))):
                if time.monotonic() >= end:
                    break
                name = chance.choice(sorted(faults))
                faults[name]()
                soak.note(name)
            base = {kind: memory_bytes(node.processes[kind].pid) for kind in ("listen", "work", "send")}
            stop.set()
            for thread in threads:
                thread.join()
            must_hold(node, soak.acknowledged, pacs, broker=broker)
            for kind, before in base.items():
                assert memory_bytes(node.processes[kind].pid) < FLAT * before + (64 << 20), f"{kind} grows"
        finally:
            stop.set()
            node.close()
            pacs.stop()
            forks.close()
    return soak


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
