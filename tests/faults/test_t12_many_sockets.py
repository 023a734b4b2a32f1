"""T12: more sockets than select can count, and more associations than are allowed, lock nobody out.

Seen to fail: with select.select in place of poll in BoundedSocket.ready (past descriptor 1023 the echo's association
is aborted), and with no limit of an address in Places.take (an association too many is accepted). Without the lobby's
cap alone it holds: with poll, and descriptors enough, 1,100 may wait.
"""

import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from core.settings import Settings
from dicom_node.server import BoundedServer
from dicom_node.statuses import LOCAL_LIMIT_EXCEEDED
from tests.faults import raw
from tests.faults.attacked import Attacked, established
from tests.node import running_node

SOCKETS = 1_100


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    limits = {"association_timeout_s": 3, "max_associations": 40, "max_associations_per_address": 20}
    with running_node(tmp_path_factory.mktemp("node"), "listen", **limits) as node:
        yield Attacked(node)


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_many_descriptors")
def test_eleven_hundred_open_sockets_lock_nobody_out(attacked: Attacked) -> None:
    peers = [raw.Peer(attacked.port) for _ in range(SOCKETS)]
    attacked.answers_others()
    with established(attacked.port) as peer:
        assert peer.ask(raw.store(b"1.2.12.1")).status == 0x0000
    for peer in peers:
        peer.close()
    attacked.is_as_before()


def test_associations_past_the_limit_of_an_address_are_rejected_as_transient(attacked: Attacked) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(established(attacked.port))
        with raw.Peer(attacked.port) as peer:
            assert peer.associate().rejection == tuple(LOCAL_LIMIT_EXCEEDED)
    attacked.is_as_before()


def test_the_ones_that_waited_longest_make_room(make_settings: Callable[..., Settings]) -> None:
    """Seen to fail without the cap in Lobby.admit: nobody has to go before the time is up."""
    settings = make_settings(max_waiting_connections=20, association_timeout_s=600)
    ae = AE("ECGNODE")
    ae.add_supported_context(Verification)
    contexts = ae.supported_contexts
    server = ae.make_server(("127.0.0.1", 0), contexts=contexts, server_class=BoundedServer, settings=settings)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with ExitStack() as stack:
            peers = [stack.enter_context(raw.Peer(server.server_address[1], 5)) for _ in range(30)]
            assert all(peer.is_closed_within(60) for peer in peers[:10])
            assert peers[10].associate().kind == peers[-1].associate().kind == 2
    finally:
        server.shutdown()
        server.server_close()
