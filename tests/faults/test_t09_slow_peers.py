"""T09: peers that say nothing, one byte, or a byte now and then hold no place and no thread.

Seen to fail: with no deadline in Lobby._send_away_late (60 silent peers and 20 trickling ones are still there), with
connections entered without the lobby (health checks are rejected for want of a place, and so is the echo), with no
deadline in BoundedSocket._recv_some (the peers that trickle a PDU stay), with the library's timeouts off in
Listener._serve (associations that say nothing stay), and with no timeout in BoundedSocket.send (the peer that reads no
answers is never ended).
"""

import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults import raw
from tests.faults.attacked import Attacked, established
from tests.node import running_node

ASSOCIATION_S, PDU_S, IDLE_S, SLACK_S = 2.0, 2.0, 4.0, 20.0


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    limits = {"association_timeout_s": ASSOCIATION_S, "pdu_timeout_s": PDU_S, "idle_timeout_s": IDLE_S}
    with running_node(tmp_path_factory.mktemp("node"), "listen", **limits) as node:
        yield Attacked(node)


def _trickle(peer: raw.Peer, data: bytes, ended: threading.Event) -> None:
    for byte in data:
        try:
            peer.socket.sendall(bytes([byte]))
        except OSError:
            return
        if ended.wait(0.3):
            return


def _all_closed(peers: list[raw.Peer], within_s: float) -> int:
    """How many of the peers were not sent away in time."""
    end = time.monotonic() + within_s
    left = [peer for peer in peers if not peer.is_closed_within(max(0.05, end - time.monotonic()))]
    for peer in peers:
        peer.close()
    return len(left)


@pytest.mark.parametrize("said", [b"", b"\1", b"\1\0\0\0", raw.associate_rq()[:-1], b"GET / HTTP/1.1\r\n\r\n"])
def test_peers_that_stop_before_they_asked_are_sent_away(said: bytes, attacked: Attacked) -> None:
    peers = [raw.Peer(attacked.port) for _ in range(60)]
    for peer in peers:
        peer.socket.sendall(said)
    attacked.answers_others()
    assert _all_closed(peers, ASSOCIATION_S + SLACK_S) == 0
    attacked.is_as_before()


def test_peers_that_trickle_are_sent_away(attacked: Attacked) -> None:
    ended = threading.Event()
    asking = [raw.Peer(attacked.port) for _ in range(20)]
    storing = [established(attacked.port) for _ in range(10)]
    streams = [(peer, raw.associate_rq()) for peer in asking] + [(peer, raw.store()) for peer in storing]
    threads = [threading.Thread(target=_trickle, args=(*stream, ended)) for stream in streams]
    for thread in threads:
        thread.start()
    attacked.answers_others()
    assert _all_closed([*asking, *storing], max(ASSOCIATION_S, PDU_S) + SLACK_S) == 0
    ended.set()
    for thread in threads:
        thread.join()
    attacked.is_as_before()


def test_an_association_with_nothing_to_say_is_ended(attacked: Attacked) -> None:
    peers = [established(attacked.port) for _ in range(20)]
    attacked.answers_others()
    assert _all_closed(peers, IDLE_S + SLACK_S) == 0
    attacked.is_as_before()


@pytest.mark.faults
def test_a_peer_that_reads_no_answers_is_ended(attacked: Attacked) -> None:
    with raw.Peer(attacked.port, receive_bytes=4096) as peer:
        assert peer.associate().kind == 2
        peer.socket.settimeout(PDU_S + 3 * SLACK_S)
        try:
            for _ in range(20_000):
                peer.socket.sendall(raw.ECHO * 50)
        except ConnectionError:
            pass  # a listener that went on waiting would make us wait, too, and that is a TimeoutError
        else:
            pytest.fail("a million echoes were taken without one answer being read")
        attacked.answers_others()
    attacked.is_as_before()


def test_health_checks_of_a_load_balancer_cost_nothing(attacked: Attacked) -> None:
    for _ in range(500):
        raw.Peer(attacked.port).close()
    attacked.answers_others()
    attacked.is_as_before()
    assert attacked.raised() == []
