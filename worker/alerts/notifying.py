"""Telling receivers of alerts: tried again with a back-off until each has acknowledged, or a person has."""

import random
from collections.abc import Callable

import structlog

from core.back_off import back_off_s
from core.errors import BadSettings, PeerAway
from core.settings import Hl7Receiver, Settings, Webhook
from dicom_node.tls import peer_context
from records.alerts import PendingNotification, claim_notification, record_not_notified, record_notified
from records.database import Database
from worker.alerts.hl7_message import build_oru
from worker.alerts.mllp import exchange, trust_of
from worker.alerts.webhook import post, read_secret

_log = structlog.get_logger(__name__)
_ROUND_TRIPS = 4  # name look-up, connection, TLS and answer may each take the longest time

Tell = Callable[[PendingNotification], None]


def tellers(settings: Settings) -> dict[str, Tell]:
    """How each channel is told. Raises BadSettings naming the channel whose secret or certificate is not usable."""
    found: dict[str, Tell] = {}
    for name, webhook in settings.webhooks.items():
        _need_usable(f"webhooks.{name}", webhook)
        found[f"webhook:{name}"] = lambda pending, to=webhook: post(to, pending, settings)  # type: ignore[misc]
    for name, receiver in settings.hl7_receivers.items():
        _need_usable(f"hl7_receivers.{name}", receiver)
        found[f"hl7:{name}"] = lambda pending, to=receiver: exchange(  # type: ignore[misc]
            to, build_oru(pending, to, settings), settings.send_timeout_s
        )
    return found


def _need_usable(name: str, to: Webhook | Hl7Receiver) -> None:
    try:
        if isinstance(to, Webhook):
            read_secret(to)
            peer_context(to.ca_file)
        else:
            trust_of(to)
    except BadSettings as error:
        raise BadSettings(f"{name}.{error}") from error


def notify_round(channel: str, tell: Tell, settings: Settings, database: Database) -> int:
    """Tell a channel of the alert that is due next; 1 when it was told, 0 else. Raises DatabaseAway."""
    pending = claim_notification(database, channel, settings.lease_s + _ROUND_TRIPS * settings.send_timeout_s)
    if pending is None:
        return 0
    try:
        tell(pending)
    except (PeerAway, BadSettings) as error:
        delay_s = back_off_s(pending.attempt - 1, settings, random.random)
        _log.warning("not_notified", channel=channel, alert=pending.alert.alert_id, why=str(error), delay_s=delay_s)
        record_not_notified(database, pending, str(error), delay_s)
        return 0
    record_notified(database, pending, channel)
    return 1
