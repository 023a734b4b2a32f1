"""Alerts posted to a web service, each signed with a shared secret.

Signature: HMAC-SHA-256 over `<timestamp>.<body>`, so that a message that was listened to cannot be sent again later.
"""

import hmac
import json
import time
from hashlib import sha256
from typing import Any

import httpx

from core.errors import BadSettings, PeerAway
from core.settings import Settings, Webhook
from core.values import NOTICE
from dicom_node.tls import peer_context, why_no_connection
from records.alerts import PendingNotification

SIGNATURE_HEADER = "X-ECG-Node-Signature"
TIMESTAMP_HEADER = "X-ECG-Node-Timestamp"
MESSAGE_ID_HEADER = "X-ECG-Node-Message-Id"
_LEAST_SECRET = 16


def read_secret(webhook: Webhook) -> bytes:
    """The secret that messages are signed with. Raises BadSettings."""
    try:
        secret = webhook.secret_file.read_bytes().strip()
    except OSError as error:
        raise BadSettings(f"secret_file: {webhook.secret_file} cannot be read ({error.strerror})") from error
    if len(secret) < _LEAST_SECRET:
        raise BadSettings(
            f"secret_file: {webhook.secret_file} holds less than {_LEAST_SECRET} bytes; make a longer one"
        )
    return secret


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature of a message, as `sha256=<hex>`."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, sha256).hexdigest()


def post(webhook: Webhook, pending: PendingNotification, settings: Settings) -> None:
    """Post an alert. Raises PeerAway unless the answer is 2xx; a redirect is not followed.

    Raises BadSettings when the secret or the certificates of `ca_file` cannot be read any more.
    """
    body = json.dumps(message_of(pending, webhook.patient_data, settings), ensure_ascii=False).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: sign(read_secret(webhook), timestamp, body),
        MESSAGE_ID_HEADER: pending.message_id,
    }
    try:
        with (
            httpx.Client(verify=peer_context(webhook.ca_file), timeout=settings.send_timeout_s) as client,
            client.stream("POST", str(webhook.url), content=body, headers=headers) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, OSError) as error:
        raise PeerAway(f"no way to the web service: {why_no_connection(error)}") from error
    if not 200 <= status < 300:
        raise PeerAway(f"the web service answered {status}")


def message_of(pending: PendingNotification, patient_data: bool, settings: Settings) -> dict[str, Any]:
    """What is posted: the same at every try."""
    alert = pending.alert
    message: dict[str, Any] = {
        "message_id": pending.message_id,
        "installation": settings.installation,
        "alert_id": alert.alert_id,
        "alert": alert.kind.value,
        "text": alert.text,
        "details": dict(alert.details),
        "raised_at": alert.raised_at.isoformat(),
        "notice": NOTICE,
    }
    if alert.ecg_id is not None:
        message["ecg"] = {
            "ecg_id": alert.ecg_id,
            "study_instance_uid": alert.study_instance_uid,
            "sop_instance_uid": alert.sop_instance_uid,
            "accession_number": alert.accession_number,
            "received_at": alert.received_at.isoformat() if alert.received_at else None,
        }
        if patient_data:
            message["patient"] = {"id": alert.patient_id, "name": alert.patient_name}
    return message
