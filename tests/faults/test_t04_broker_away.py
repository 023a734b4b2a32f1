"""T04: a broker that loses everything, dies, comes back or was never there costs time and no ECG.

T05: a message that is popped by a worker that dies is no loss.

Seen to fail with rounds of the worker and the sender that only a message starts (`core.rounds.Rounds._run` waits for
`wake` before each round, without its first one and its interval): ECGs whose messages were flushed, that came without a
broker, or whose message was popped by a worker that died (T05) are never answered. Descriptors: seen to fail without
`Wakeup._need_reachable` (50 ECGs on PostgreSQL: the worker held 16 before and 19 after).
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import Settings
from core.wakeup import Wakeup
from tests.faults.harness import Broker, MakeNode, attempts_of, backends, broker_of, must_hold
from tests.faults.held import SPARE, held_by
from tests.faults.objects import ecg_object, small_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.servers import free_port, wait_until
from tests.tally import Report


@pytest.fixture(params=backends("postgresql"))
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def broker(backend: str, tmp_path: Path) -> Iterator[Broker]:
    """A broker that is not started yet."""
    made = broker_of(backend, tmp_path / "broker")
    yield made
    if made.process is not None:
        made.kill()


@pytest.mark.parametrize("each", [4, pytest.param(50, marks=pytest.mark.faults)])
def test_every_ecg_is_answered_whatever_the_broker_does(
    each: int, broker: Broker, backend: str, pacs: ScriptedPacs, make_node: MakeNode, tally: Report
) -> None:
    broker.start()
    node = make_node(backend, broker_url=broker.url, destinations=pacs.destinations)
    node.start("send", "work", "listen")
    sent = [ecg_object()]
    node.push(sent)
    node.take_bases(sent)

    def push() -> None:
        some = [small_object(len(sent) + n) for n in range(each)] + [ecg_object(len(sent) + each)]
        assert {outcome.status for outcome in node.push(some)} == {0}
        sent.extend(some)

    # A worker that is awake takes a message at once: those that are lost waited for one
    node.end("work")
    push()
    wait_until(lambda: broker.client.llen("routine") == each + 1, 90, "every wake-up waits")
    broker.client.flushall()
    node.start("work")
    must_hold(node, sent, pacs, broker=broker)
    broker.kill()
    push()
    must_hold(node, sent, pacs)
    broker.start()
    push()
    must_hold(node, sent, pacs, broker=broker)
    assert max(attempts_of(node.database)) == 1
    tally("T04", cases=len(sent), kills=1)


@pytest.mark.parametrize("number", [5, pytest.param(50, marks=pytest.mark.faults)])
def test_every_ecg_is_answered_where_the_broker_never_was(
    number: int, broker: Broker, backend: str, pacs: ScriptedPacs, make_node: MakeNode, tally: Report
) -> None:
    node = make_node(backend, broker_url=broker.url, destinations=pacs.destinations)
    node.start("send", "work", "listen")
    sent = [small_object(n) for n in range(number - 1)] + [ecg_object(number)]
    assert {outcome.status for outcome in node.push(sent)} == {0}
    must_hold(node, sent, pacs)
    assert node.end("work") == 0
    tally("T04", cases=number)


class _Counting(Wakeup):
    """Counts the tries that failed."""

    failed = 0

    def _forget(self) -> None:
        super()._forget()
        self.failed += 1


def test_t04_a_broker_that_stays_away_costs_no_descriptor(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tally: Report
) -> None:
    monkeypatch.setattr("core.wakeup._QUIET_S", 0.0)
    gc.collect()
    gc.disable()
    away = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    wakeup = _Counting(settings.model_copy(update={"broker_url": away}))
    try:
        _fail_until(wakeup, 1)
        before = held_by(os.getpid(), settings).descriptors
        _fail_until(wakeup, 12)
        assert held_by(os.getpid(), settings).descriptors <= before + SPARE
    finally:
        gc.enable()
        wakeup.close()
    tally("T04", cases=1)


def _fail_until(wakeup: _Counting, times: int) -> None:
    def failed() -> bool:
        wakeup.wake(1, stat=False)
        return wakeup.failed >= times

    wait_until(failed, 110, f"{times} tries have failed")


@pytest.mark.parametrize("number", [3, pytest.param(30, marks=pytest.mark.faults)])
def test_t05_messages_popped_by_workers_that_die_lose_nothing(
    number: int, broker: Broker, backend: str, pacs: ScriptedPacs, make_node: MakeNode, tally: Report
) -> None:
    broker.start()
    node = make_node(backend, broker_url=broker.url, destinations=pacs.destinations, lease_s=1, max_attempts=100)
    node.start("send", "listen")
    sent = []
    for n in range(number):
        # It asks the database at its start and then not for an hour: only a message can wake it. What it found at its
        # start dies with it, once more for each
        dying = node.launch("work", die={"woken": 1}, reconcile_s=3600)
        node._wait_ready("work")
        sent.append(small_object(n))
        assert node.push(sent[-1:])[0].status == 0
        assert dying.wait(90) == -9
    node.start("work")
    must_hold(node, sent, pacs, broker=broker)
    wait_until(lambda: broker.client.llen("routine") == 0, 90, "messages are consumed")
    tally("T05", cases=number, kills=number)
