"""T02: the listener is killed again and again while eight carts send; what it acknowledged is kept, once.

Seen to fail with files that are saved by a thread, a moment after the row; five kills do not find that in every run.
"""

import random
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from dicom_node.scu import Outgoing
from tests.conftest import need_tool
from tests.faults.harness import FaultNode, MakeNode, backends, must_hold
from tests.faults.objects import small_object, write
from tests.servers import free_port, wait_until
from tests.tally import Report

CARTS = 8
TOGETHER = 10
_SAID = re.compile(r"Sending file: (\S+)|Received Store Response \(([^)]*)\)")


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, make_node: MakeNode) -> FaultNode:
    return make_node(request.param, listen_port=free_port())


class Cart(threading.Thread):
    """Sends its objects with storescu, on and on, until each was acknowledged; then sends them all again."""

    def __init__(self, number: int, port: int, folder: Path, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._command = [need_tool("storescu"), "-v", "-aet", f"CART{number}", "-aec", "ECGNODE", "-xe"]
        self._command += ["-to", "5", "127.0.0.1", str(port)]
        self._number, self._folder, self._stop_sending = number, folder, stop
        self.acknowledged: list[Outgoing] = []
        self.made = 0

    def run(self) -> None:
        waiting: list[Outgoing] = []
        while not self._stop_sending.is_set():
            waiting += [self._make() for _ in range(TOGETHER - len(waiting))]
            accepted = self.send(waiting)
            self.acknowledged += [one for one in waiting if one.sop_instance_uid in accepted]
            waiting = [one for one in waiting if one.sop_instance_uid not in accepted]

    def _make(self) -> Outgoing:
        self.made += 1
        return write(small_object(1000 * self._number + self.made), self._folder)

    def send(self, objects: list[Outgoing]) -> set[str]:
        """UIDs that were answered with Success."""
        done = subprocess.run(
            [*self._command, *(str(one.path) for one in objects)], capture_output=True, text=True, timeout=120
        )
        accepted, last = set(), ""
        for file, status in _SAID.findall(done.stdout + done.stderr):
            last = file or last
            if status == "Success":
                accepted.add(Path(last).stem)
        return accepted


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.faults)])
def test_what_a_killed_listener_acknowledged_is_kept_once(
    kills: int, node: FaultNode, tmp_path: Path, tally: Report, seed: int
) -> None:
    chance = random.Random(seed)
    stop = threading.Event()
    carts = []
    for number in range(CARTS):
        folder = tmp_path / f"cart{number}"
        folder.mkdir()
        carts.append(Cart(number, node.settings.listen_port, folder, stop))
    node.start("listen")
    first = small_object()
    assert node.push([first])[0].status == 0
    node.take_bases()
    for cart in carts:
        cart.start()
    for _ in range(kills):
        before = sum(len(cart.acknowledged) for cart in carts)
        wait_until(lambda before=before: sum(len(c.acknowledged) for c in carts) > before, 90, "carts are served again")
        time.sleep(chance.uniform(0.0, 0.3))  # the moment of the kill is the test's chance, not a wait for an event
        node.kill("listen")
        node.start("listen")
    stop.set()
    for cart in carts:
        cart.join(120)
    sent = [first] + [one for cart in carts for one in cart.acknowledged]
    must_hold(node, sent, answered=False)
    again = [one for one in carts[0].acknowledged[:TOGETHER]]
    assert carts[0].send(again) == {one.sop_instance_uid for one in again}
    must_hold(node, sent, answered=False, settled=True)
    tally("T02", cases=len(sent), kills=kills)
