"""What receivers of alerts are sent, read by programs of other authors."""

import hmac
import json
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hl7apy.parser import parse_message

from core.errors import BadSettings, PeerAway
from core.settings import Hl7Receiver, Settings, Webhook
from core.states import AlertKind, AlertState
from records.alerts import AlertView, PendingNotification
from tests.servers import free_port
from tests.worker.receivers import CUT, Hl7Script, WebService, running_hl7_receiver, running_web_service
from worker.alerts.hl7_message import build_oru, person_name
from worker.alerts.mllp import exchange
from worker.alerts.webhook import post, read_secret

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMES = {
    "Yamada^Tarou=山田^太郎=やまだ^たろう": "Yamada^Tarou^^^^^^A~山田^太郎^^^^^^I~やまだ^たろう^^^^^^P",
    "Ñandú^José": "Ñandú^José^^^^^^A",
    "=山田^太郎": "山田^太郎^^^^^^I",
    "Adams^John Robert Quincy^^Rev.^B.A. M.Div.": "Adams^John Robert Quincy^^B.A. M.Div.^Rev.^^^A",
    "A|B&C~D^E\\F": "A\\F\\B\\T\\C\\R\\D^E\\E\\F^^^^^^A",
    "": "",
}


def pending(**changes: object) -> PendingNotification:
    details = {"probability": 0.87, "threshold": 0.5, "label": "myocardial_infarction"}
    alert = AlertView(
        alert_id=7,
        kind=AlertKind.SUSPECTED_INFARCTION,
        state=AlertState.RAISED,
        text="Suspected myocardial infarction: 87 % | see ^ECG",
        details=details,
        raised_at=AT,
        destination=None,
        acknowledged_at=None,
        acknowledged_by=None,
        why=None,
        ecg_id=3,
        sop_instance_uid="1.2.3.4",
        study_instance_uid="1.2.3",
        accession_number="ACC|1",
        patient_id="P^1",
        patient_name="Yamada^Tarou=山田^太郎=やまだ^たろう",
        received_at=AT,
        acquisition_datetime="20260301115930.5",
        answered=True,
    )
    return PendingNotification(1, 1, 1, "0123456789abcdef0123", replace(alert, **changes))  # type: ignore[arg-type]


def receiver(port: int = 1) -> Hl7Receiver:
    return Hl7Receiver(host="127.0.0.1", port=port, application="RIS", facility="HOSPITAL")


@pytest.mark.parametrize("dicom", NAMES, ids=range(len(NAMES)))
def test_a_dicom_name_becomes_an_hl7_name(dicom: str) -> None:
    assert person_name(dicom) == NAMES[dicom]


def test_another_library_reads_the_message_with_nothing_lost(settings: Settings) -> None:
    message = parse_message(str(build_oru(pending(), receiver(), settings)), find_groups=True)
    assert message.validate()
    assert (message.msh.msh_9.to_er7(), message.msh.msh_18.to_er7()) == ("ORU^R01^ORU_R01", "UNICODE UTF-8")
    result = message.oru_r01_patient_result
    patient = result.oru_r01_patient.pid.to_er7().split("|")
    assert (patient[3], patient[5]) == ("P\\S\\1^^^^PI", NAMES["Yamada^Tarou=山田^太郎=やまだ^たろう"])
    order = result.oru_r01_order_observation
    assert (order.obr.obr_7.to_er7(), order.obr.obr_18.to_er7(), order.obr.obr_25.to_er7()) == (
        "20260301115930",
        "ACC\\F\\1",
        "P",
    )
    values = [one.obx.obx_5.to_er7() for one in order.oru_r01_observation]
    assert values[:4] == ["22298006^Myocardial infarction^SCT", "87.0", "1.2.3", "1.2.3.4"]
    assert values[4] == "Suspected myocardial infarction: 87 % \\F\\ see \\S\\ECG"


def test_control_characters_end_no_segment(settings: Settings) -> None:
    message = str(build_oru(pending(patient_name="A\rOBX|1^B\n"), receiver(), settings))
    assert sum(line.startswith("OBX") for line in message.split("\r")) == 5


def test_aa_is_success_and_every_other_answer_is_not(settings: Settings) -> None:
    script, port = Hl7Script("AA", "AE", "AR", CUT), free_port()
    message = build_oru(pending(), receiver(), settings)
    with running_hl7_receiver(script, port):
        exchange(receiver(port), message, 20)
        for expected in ("answered AE", "answered AR", "closed before it acknowledged"):
            with pytest.raises(PeerAway, match=expected):
                exchange(receiver(port), message, 20)
    assert len(script.received) == 4
    assert all("山田^太郎" in one for one in script.received)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"\x0bMSH|^~\\&|a|b|c|d|1||ACK|1|P|2.5.1\rMSA|AA|another\r\x1c\r", "acknowledged another message"),
        (b"\x0bMSH|^~\\&|a|b|c|d|1||ACK|1|P|2.5.1\r\x1c\r", "no acknowledgement"),
        (b"\x0bhello\x1c\r", "no acknowledgement"),
        (b"\x0bMSH|", "nothing answered in time"),
    ],
)
def test_an_answer_that_is_none_leaves_the_message_unsent(settings: Settings, answer: bytes, expected: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            connection.recv(65536)
            connection.sendall(answer)
            connection.recv(1)
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(PeerAway, match=expected):
            exchange(receiver(listening.getsockname()[1]), build_oru(pending(), receiver(), settings), 1.0)


def test_nobody_listening_is_said_so(settings: Settings) -> None:
    with pytest.raises(PeerAway, match="no way to the HL7 receiver: Connection refused"):
        exchange(receiver(free_port()), build_oru(pending(), receiver(), settings), 5)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("a secret of the hospital\n")
    return path


def webhook(port: int, secret_file: Path, **more: object) -> Webhook:
    given = {"url": f"http://127.0.0.1:{port}/alerts", "secret_file": secret_file} | more
    return Webhook(**given)  # type: ignore[arg-type]


def test_a_web_service_can_check_who_sent_the_alert_and_gets_no_patient_data(
    settings: Settings, secret_file: Path
) -> None:
    service = WebService()
    with running_web_service(service) as port:
        post(webhook(port, secret_file), pending(), settings)
    ((headers, body),) = service.received
    expected = hmac.new(
        b"a secret of the hospital", headers["X-ECG-Node-Timestamp"].encode() + b"." + body, sha256
    ).hexdigest()
    assert headers["X-ECG-Node-Signature"] == f"sha256={expected}"
    assert headers["X-ECG-Node-Message-Id"] == "0123456789abcdef0123"
    said = json.loads(body)
    assert said["ecg"]["sop_instance_uid"] == "1.2.3.4"
    assert "Not verified by a physician" in said["notice"]
    assert "Yamada" not in body.decode()
    assert "P^1" not in body.decode()


def test_a_web_service_gets_patient_data_where_a_site_says_so(settings: Settings, secret_file: Path) -> None:
    service = WebService()
    with running_web_service(service) as port:
        post(webhook(port, secret_file, patient_data=True), pending(), settings)
    assert json.loads(service.received[0][1])["patient"] == {
        "id": "P^1",
        "name": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    }


def test_an_error_or_a_redirect_of_a_web_service_is_no_success(settings: Settings, secret_file: Path) -> None:
    service = WebService(500, 404, 302)
    with running_web_service(service) as port:
        for status in (500, 404, 302):
            with pytest.raises(PeerAway, match=f"answered {status}"):
                post(webhook(port, secret_file), pending(), settings)
    assert len(service.received) == 3


def test_a_short_or_missing_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("abc")
    for name in ("short", "missing"):
        with pytest.raises(BadSettings, match="secret_file"):
            read_secret(webhook(1, tmp_path / name))


def test_plain_http_to_another_machine_is_refused(secret_file: Path) -> None:
    with pytest.raises(ValueError, match="use https"):
        Webhook(url="http://pager.hospital/alerts", secret_file=secret_file)  # type: ignore[arg-type]
