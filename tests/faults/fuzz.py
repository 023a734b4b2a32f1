"""Seeded fuzzing of a running listener: `python -m tests.faults.fuzz --cases 200000 --minutes 60 --seed 1`.

Each case opens an association properly and then sends one mutated exchange. A seed and a case's number give its bytes
again. The run ends with its cases or its minutes, whichever come first.
"""

import argparse
import math
import random
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.faults import raw
from tests.faults.attacked import Attacked, memory_bytes
from tests.node import running_node
from tests.tally import Row, save_rows

ECHO_EVERY = 50
SAY_EVERY = 5_000
AT_ONCE = 8
ANSWER_S = 90.0  # a busy machine may stand still for half a minute
INTERESTING = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of cases left behind."""

    cases: int
    deaths: int
    unanswered: int
    raised: list[str]
    outside: list[str]
    slowest_echo_s: float

    @property
    def violations(self) -> int:
        return self.deaths + self.unanswered + len(self.raised) + len(self.outside)


def exchange(case: int, seed: int) -> bytes:
    """The bytes that follow the association request in one case."""
    chance = random.Random(f"{seed}/{case}")
    uid = f"1.2.826.0.1.{case}".encode()
    whole = chance.choice([raw.store(uid), raw.ECHO, raw.store(uid) + raw.ECHO, raw.store(uid) + raw.RELEASE_RQ])
    mutated = bytearray(whole)
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        chance.choice(MUTATIONS)(mutated, chance)
    return bytes(mutated)


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice(INTERESTING)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _take_out(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.randrange(1, 40)]


def _insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.randrange(1, 40))


def _repeat(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = data[at : at + chance.randrange(1, 200)]


def _long(data: bytearray, chance: random.Random) -> None:
    """Four bytes that read as a very large length, in either order."""
    if len(data) > 4:
        at = chance.randrange(len(data) - 4)
        data[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)])


MUTATIONS = (_flip, _flip, _set, _set, _cut, _take_out, _insert, _repeat, _long)


def _run_case(port: int, case: int, seed: int) -> bool:
    """Whether the listener ended the exchange in time, with an answer or by closing."""
    with raw.Peer(port, ANSWER_S) as peer:
        try:
            peer.associate()
            peer.socket.sendall(exchange(case, seed))
            peer.socket.shutdown(1)
        except TimeoutError:
            return False
        except (OSError, EOFError):
            return True
        return peer.is_closed_within(ANSWER_S)


def run_cases(attacked: Attacked, cases: int, seed: int, minutes: float = math.inf) -> Outcome:
    """Run cases, eight at a time, as many as the minutes allow; after each fifty another peer's C-ECHO."""
    unanswered, slowest, done, end = 0, 0.0, 0, time.monotonic() + 60 * minutes
    root = attacked.node.folder
    outside_before = _around(root)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while done < cases and time.monotonic() < end and attacked.node.processes["listen"].poll() is None:
            some = range(done, min(cases, done + ECHO_EVERY))
            ended = pool.map(lambda case: _run_case(attacked.port, case, seed), some)
            late = [case for case, in_time in zip(some, ended, strict=True) if not in_time]
            unanswered += len(late)
            if late:
                print(f"not ended in time: {late}", flush=True)
            slowest = max(slowest, attacked.echo_s())
            done += len(some)
            if done % SAY_EVERY == 0:
                mega = memory_bytes(attacked.pid) >> 20
                print(f"{done} cases, {unanswered} late, slowest echo {slowest:.2f} s, {mega} MB", flush=True)
    deaths = int(attacked.node.processes["listen"].poll() is not None)
    outside = sorted(_around(root) - outside_before)
    return Outcome(done, deaths, unanswered, attacked.raised(), outside, slowest)


def _around(root: Path) -> set[str]:
    """What lies beside the data folder and, in it, beside the folder of received files."""
    beside = {str(path) for path in root.parent.iterdir()}
    return beside | {
        str(path) for path in root.iterdir() if path.suffix not in (".head", ".part") and path.name != "received"
    }


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=1)
    given, began = parser.parse_args(), time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_node(Path(folder) / "node", "listen", pdu_timeout_s=3) as node,
    ):
        attacked = Attacked(node)
        outcome = run_cases(attacked, given.cases, given.seed, given.minutes)
        attacked.is_as_before()
    print(f"seed {given.seed}: {outcome}")
    row = Row(tests=1, cases=outcome.cases, violations=outcome.violations, seconds=time.monotonic() - began)
    save_rows({"T13": row}, given.seed)
    raise SystemExit(1 if outcome.violations else 0)


if __name__ == "__main__":
    main()
