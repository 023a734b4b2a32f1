"""Alerts over TLS: only a receiver whose certificate holds gets one, and what does not hold is said in words.

Seen to fail with `check_hostname` off and with CERT_NONE in peer_context (the strangers get the message), and without
load_cert_chain (the receiver that wants our certificate says no).
"""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import BadSettings, PeerAway
from core.settings import Hl7Receiver, Settings, Webhook
from tests.certificates import Authority
from tests.servers import free_port
from tests.worker.receivers import Hl7Script, WebService, running_hl7_receiver, running_web_service
from tests.worker.test_alert_messages import pending
from worker.alerts.hl7_message import build_oru
from worker.alerts.mllp import exchange
from worker.alerts.notifying import tellers
from worker.alerts.webhook import post

UNTRUSTED = "its certificate does not hold: (self-signed certificate in|unable to get local issuer)"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "another CA")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("a secret of the hospital\n")
    return path


@pytest.fixture
def webhook(secret_file: Path, hospital: Authority) -> Callable[..., Webhook]:
    def make(port: int, host: str = "127.0.0.1") -> Webhook:
        return Webhook(url=f"https://{host}:{port}/", secret_file=secret_file, ca_file=hospital.certificate)  # type: ignore[arg-type]

    return make


def test_a_web_service_with_the_hospitals_certificate_is_told(
    webhook: Callable[..., Webhook], hospital: Authority, settings: Settings
) -> None:
    service = WebService()
    with running_web_service(service, tls=hospital.sign("web").serving()) as port:
        post(webhook(port), pending(), settings)
    assert len(service.received) == 1


def test_a_web_service_with_a_foreign_certificate_is_told_nothing(
    webhook: Callable[..., Webhook], stranger: Authority, settings: Settings
) -> None:
    service = WebService()
    running = running_web_service(service, tls=stranger.sign("web").serving())
    with running as port, pytest.raises(PeerAway, match=f"no way to the web service: {UNTRUSTED}"):
        post(webhook(port), pending(), settings)
    assert service.received == []


def test_a_web_service_with_the_certificate_of_another_machine_is_told_nothing(
    webhook: Callable[..., Webhook], hospital: Authority, settings: Settings
) -> None:
    service = WebService()
    running = running_web_service(service, ("127.0.0.2", 0), hospital.sign("web").serving())
    with running as port, pytest.raises(PeerAway, match=r"does not hold: IP address mismatch.*127\.0\.0\.2"):
        post(webhook(port, "127.0.0.2"), pending(), settings)
    assert service.received == []


def test_a_web_service_without_tls_is_told_nothing(webhook: Callable[..., Webhook], settings: Settings) -> None:
    service = WebService()
    with running_web_service(service) as port, pytest.raises(PeerAway, match="no way to the web service: no TLS"):
        post(webhook(port), pending(), settings)
    assert service.received == []


def _receiver(port: int, hospital: Authority, **more: object) -> Hl7Receiver:
    return Hl7Receiver(host="127.0.0.1", port=port, ca_file=hospital.certificate, **more)  # type: ignore[arg-type]


def _exchange(receiver: Hl7Receiver, tls: ssl.SSLContext | None, settings: Settings) -> Hl7Script:
    """What the receiver got, listening with this context."""
    script = Hl7Script()
    with running_hl7_receiver(script, receiver.port, tls):
        exchange(receiver, build_oru(pending(), receiver, settings), 20)
    return script


def test_an_hl7_receiver_with_the_hospitals_certificate_is_told(hospital: Authority, settings: Settings) -> None:
    (message,) = _exchange(_receiver(free_port(), hospital), hospital.sign("ris").serving(), settings).received
    assert "山田^太郎" in message


def test_an_hl7_receiver_with_a_foreign_certificate_or_none_is_told_nothing(
    hospital: Authority, stranger: Authority, settings: Settings
) -> None:
    receiver = _receiver(free_port(), hospital)
    for tls, said in ((stranger.sign("ris").serving(), UNTRUSTED), (None, "no way to the HL7 receiver")):
        script = Hl7Script()
        with running_hl7_receiver(script, receiver.port, tls), pytest.raises(PeerAway, match=said):
            exchange(receiver, build_oru(pending(), receiver, settings), 5)
        assert script.received == []


def test_an_hl7_receiver_that_asks_for_our_certificate_gets_it(hospital: Authority, settings: Settings) -> None:
    tls, ours = hospital.sign("ris").serving(clients=hospital.certificate), hospital.sign("node")
    shown = {"certificate_file": ours.certificate, "key_file": ours.key}
    assert len(_exchange(_receiver(free_port(), hospital, **shown), tls, settings).received) == 1
    unnamed, script = _receiver(free_port(), hospital), Hl7Script()
    # TLS 1.3 refuses after the handshake: its alert races with the end of the connection
    with running_hl7_receiver(script, unnamed.port, tls), pytest.raises(PeerAway, match="the HL7 receiver"):
        exchange(unnamed, build_oru(pending(), unnamed, settings), 20)
    assert script.received == []


@pytest.mark.parametrize("channel", ["webhooks", "hl7_receivers"])
def test_a_start_with_certificates_that_cannot_be_read_is_refused_by_name(
    channel: str, secret_file: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.pem"
    given = {
        "webhooks": {"a": {"url": "https://pager.hospital/", "secret_file": secret_file, "ca_file": missing}},
        "hl7_receivers": {"a": {"host": "ris.hospital", "port": 2575, "ca_file": missing}},
    }
    with pytest.raises(BadSettings, match=rf"{channel}\.a\.ca_file: .*missing.pem: No such file"):
        tellers(Settings(**{channel: given[channel]}))  # type: ignore[arg-type]
