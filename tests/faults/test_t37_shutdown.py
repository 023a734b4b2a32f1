"""T37: SIGTERM under load and an upgrade of one process after the other lose no ECG and no attempt.

Seen to fail with a worker that ends in the middle of its round (`core.rounds.Rounds.stop` without waiting).
"""

import threading

import pytest

from dicom_node.scu import Outgoing, send
from tests.faults.harness import FaultNode, MakeNode, attempts_of, backends, must_hold
from tests.faults.objects import ecg_object, small_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.servers import free_port, wait_until
from tests.tally import Report


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, pacs: ScriptedPacs, make_node: MakeNode) -> FaultNode:
    # Nobody may count on a lease that runs out: what a process leaves behind would be missed
    return make_node(request.param, destinations=pacs.destinations, listen_port=free_port(), batch_size=4, lease_s=600)


class Load(threading.Thread):
    """A cart that sends one object after the other, each until it is taken."""

    def __init__(self, node: FaultNode, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._address, self._number, self._stop_sending = node.address(), number, stop
        self.taken: list[Outgoing] = []

    def run(self) -> None:
        while not self._stop_sending.is_set():
            n = 1000 * self._number + len(self.taken)
            one = ecg_object(n) if len(self.taken) % 8 == 0 else small_object(n)
            while send(self._address, f"CART{self._number}", [one], 30.0)[0].status != 0:
                if self._stop_sending.wait(0.05):
                    return
            self.taken.append(one)


@pytest.mark.faults
@pytest.mark.parametrize("rounds", [1, 5])
def test_an_upgrade_under_load_loses_no_ecg_and_no_attempt(
    rounds: int, node: FaultNode, pacs: ScriptedPacs, tally: Report
) -> None:
    node.start("send", "work", "listen")
    first = ecg_object()
    node.push([first])
    node.take_bases([first])
    stop = threading.Event()
    carts = [Load(node, number, stop) for number in range(3)]
    for cart in carts:
        cart.start()
    old = ""
    for number in range(1, rounds + 1):
        new = f"-{number}"
        for kind in ("work", "send"):
            # The new one works beside the old one for a while, as in a rolling upgrade
            node.start(kind, as_name=kind + new)
            _wait_for_more(carts)
            assert node.end(kind + old) == 0
        assert node.end("listen") == 0
        node.start("listen")
        _wait_for_more(carts)
        old = new
    stop.set()
    for cart in carts:
        cart.join(120)
    sent = [first] + [one for cart in carts for one in cart.taken]
    must_hold(node, sent, pacs)
    assert set(attempts_of(node.database)) == {1}
    assert [name for name in node.processes if node.processes[name].poll() is not None] == []
    tally("T37", cases=len(sent), kills=3 * rounds)


def _wait_for_more(carts: list[Load]) -> None:
    before = [len(cart.taken) for cart in carts]
    wait_until(lambda: all(len(c.taken) > n for c, n in zip(carts, before, strict=True)), 90, "each cart is served")
