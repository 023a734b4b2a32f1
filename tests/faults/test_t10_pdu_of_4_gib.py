"""T10: a PDU that claims 4 GiB, or any length that was not agreed, is refused before it is read.

Seen to fail with no cap in BoundedSocket.recv: the listener takes 64 MB and asks for more.
"""

from collections.abc import Iterator

import pytest

from tests.faults import raw
from tests.faults.attacked import Attacked, established
from tests.node import running_node

PDU_S, SLACK_S = 3.0, 20.0
SENT_BYTES = 64 << 20


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    with running_node(tmp_path_factory.mktemp("node"), "listen", pdu_timeout_s=PDU_S) as node:
        yield Attacked(node)


def _pour(peer: raw.Peer) -> int:
    """Send until the peer ends the connection; how many bytes it took, in all the kernels' buffers too."""
    sent, some = 0, bytes(1 << 20)
    try:
        while sent < SENT_BYTES:
            sent += peer.socket.send(some)
    except (ConnectionError, TimeoutError):
        pass
    return sent


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x80000000, 2 << 20])
@pytest.mark.parametrize("kind", [1, 4, 5, 7])
def test_an_association_ends_at_a_pdu_that_is_longer_than_agreed(kind: int, length: int, attacked: Attacked) -> None:
    with established(attacked.port) as peer:
        peer.socket.sendall(raw.pdu(kind, b"", length))
        assert _pour(peer) < SENT_BYTES
        assert peer.is_closed_within(PDU_S + SLACK_S)
        attacked.answers_others()
    attacked.is_as_before()


@pytest.mark.parametrize("length", [0xFFFFFFFF, 2 << 20])
def test_a_request_for_an_association_that_is_longer_than_any_is_refused(length: int, attacked: Attacked) -> None:
    with raw.Peer(attacked.port) as peer:
        peer.socket.sendall(raw.pdu(1, b"", length))
        assert _pour(peer) < SENT_BYTES
        assert peer.is_closed_within(PDU_S + SLACK_S)
        attacked.answers_others()
    attacked.is_as_before()


def test_a_pdv_that_is_longer_than_its_pdu_ends_the_association(attacked: Attacked) -> None:
    with established(attacked.port) as peer:
        peer.socket.sendall(raw.pdu(4, b"\xff\xff\xff\xff\1\3" + bytes(100)))
        assert peer.is_closed_within(PDU_S + SLACK_S)
    attacked.is_as_before()
