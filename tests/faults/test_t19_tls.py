"""T19 and T09 over TLS: who shows no certificate, a foreign one or another's is not let in; who says nothing leaves.

Seen to fail with CERT_OPTIONAL in place of CERT_REQUIRED, without `_may_show` in judge_caller, with all ciphers and TLS
1.1 allowed, and with the handshake in `get_request` (the silent peers stop everyone).
"""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import BadSettings
from core.settings import read_settings
from dicom_node.statuses import CALLING_AE_TITLE_UNKNOWN
from tests.certificates import Authority, Certificate
from tests.conftest import need_tool
from tests.faults import raw
from tests.node import Node, running_node

SILENT_S, SLACK_S = 3.0, 20.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def cart(authority: Authority) -> Certificate:
    return authority.sign("cart")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, authority: Authority, cart: Certificate) -> Iterator[Node]:
    server = authority.sign("node")
    settings = {
        "demo": "false",
        "tls_port": 0,
        "tls_certificate_file": server.certificate,
        "tls_key_file": server.key,
        "tls_ca_file": authority.certificate,
        "association_timeout_s": SILENT_S,
        "callers": {
            "cart": {"ae_titles": '["CART"]', "certificates": f'["{cart.fingerprint}"]'},
            "any": {"ae_titles": '["ANY"]'},
        },
    }
    with running_node(tmp_path_factory.mktemp("node"), "listen", **settings) as running:
        yield running


def _client(authority: Authority, shown: Certificate | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    return context


def _ask(node: Node, context: ssl.SSLContext, calling: bytes) -> raw.Answer:
    with raw.Peer(node.port()) as peer:
        peer.socket = context.wrap_socket(peer.socket, server_hostname="localhost")
        return peer.associate(calling=calling)


def test_a_caller_with_its_own_certificate_is_let_in(node: Node, authority: Authority, cart: Certificate) -> None:
    assert _ask(node, _client(authority, cart), b"CART").kind == 2


def test_another_ones_certificate_does_not_open_a_title(node: Node, authority: Authority) -> None:
    other = _client(authority, authority.sign("other"))
    assert _ask(node, other, b"CART").rejection == tuple(CALLING_AE_TITLE_UNKNOWN)
    assert _ask(node, other, b"ANY").kind == 2


def test_a_caller_without_a_certificate_is_not_heard(node: Node, authority: Authority) -> None:
    with pytest.raises((OSError, EOFError)):
        _ask(node, _client(authority, None), b"ANY")


def test_a_certificate_of_another_authority_is_not_heard(node: Node, authority: Authority, tmp_path: Path) -> None:
    foreign = Authority(tmp_path / "foreign", "foreign CA").sign("stranger")
    with pytest.raises((OSError, EOFError)):
        _ask(node, _client(authority, foreign), b"ANY")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_old_protocols_are_refused(node: Node, authority: Authority, cart: Certificate) -> None:
    context = _client(authority, cart)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"alert|EOF|reset"):
        _ask(node, context, b"CART")


def test_ciphers_without_authenticated_encryption_are_refused(
    node: Node, authority: Authority, cart: Certificate
) -> None:
    context = _client(authority, cart)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    with pytest.raises(OSError, match=r"alert|EOF|reset"):
        _ask(node, context, b"CART")


def test_plain_dicom_is_not_answered_where_only_tls_is_served(node: Node) -> None:
    with raw.Peer(node.port()) as peer, pytest.raises((OSError, EOFError)):
        peer.associate(calling=b"ANY")


def test_silent_peers_over_tls_hold_up_nobody(node: Node, authority: Authority, cart: Certificate) -> None:
    silent = [raw.Peer(node.port()) for _ in range(40)]
    for half in silent[::2]:
        half.socket.sendall(b"\x16\x03\x01\x02\x00\x01")
    assert _ask(node, _client(authority, cart), b"CART").kind == 2
    for one in silent:
        assert one.is_closed_within(SILENT_S + SLACK_S)
        one.close()


def test_dcmtk_sends_over_tls(node: Node, authority: Authority, cart: Certificate) -> None:
    """DCMTK's echoscu, with the same two certificates that a modality would have."""
    words = ["+tls", str(cart.key), str(cart.certificate), "+cf", str(authority.certificate), "-aet", "CART"]
    command = [need_tool("echoscu"), *words, "-aec", "ECGNODE", "localhost", str(node.port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"listen_host": "0.0.0.0"}, "listen_plain"),
        ({"tls_certificate_file": "x.pem"}, "tls_key_file"),
        ({"tls_certificate_file": "x.pem", "tls_key_file": "x.key"}, "tls_ca_file"),
        ({"callers": {"a": {"ae_titles": ["A"], "certificates": ["ab" * 32]}}}, "certificates"),
        ({"callers": {"a": {"ae_titles": ["A"], "certificates": ["ab"]}}}, "certificates"),
    ],
    ids=lambda given: str(given)[:40],
)
def test_settings_that_would_leave_patient_data_open_are_refused_by_name(given: dict[str, object], named: str) -> None:
    with pytest.raises(BadSettings, match=named):
        read_settings(**given)


def test_both_ways_are_served_where_a_setting_says_so(tmp_path: Path, authority: Authority, cart: Certificate) -> None:
    server = authority.sign("both")
    tls = {"tls_port": 0, "tls_certificate_file": server.certificate, "tls_key_file": server.key}
    more = {"tls_ca_file": authority.certificate, "listen_plain": "true"}
    with running_node(tmp_path / "node", "listen", **tls, **more) as both:
        with raw.Peer(both.port()) as peer:
            assert peer.associate().kind == 2
        assert ", tls 127.0.0.1:" in both.log("listen")
