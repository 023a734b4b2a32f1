"""A round of looking for what a person has to be told of."""

from collections.abc import Callable

import structlog

from core.settings import Settings
from records.alerts import AlertRules, Channel, raise_alerts
from records.database import Database

_log = structlog.get_logger(__name__)


def alert_rules(settings: Settings) -> AlertRules:
    """When this installation raises an alert."""
    return AlertRules(
        unanswered_s=settings.unanswered_alert_s,
        infarction_probability=settings.infarction_alert_probability,
        undelivered_s=settings.undelivered_alert_s,
        destinations=tuple(settings.destinations),
        reanalysis=settings.alert_reanalysis,
        committing=frozenset(name for name, to in settings.destinations.items() if to.commitment),
    )


def alert_channels(settings: Settings) -> list[Channel]:
    """Who is told. An HL7 result is always about an ECG."""
    webhooks = [Channel(f"webhook:{name}", frozenset(to.alerts)) for name, to in settings.webhooks.items()]
    hl7 = [Channel(f"hl7:{name}", frozenset(to.alerts), True) for name, to in settings.hl7_receivers.items()]
    return webhooks + hl7


def raising_round(settings: Settings, database: Database, wake_tellers: Callable[[], None]) -> int:
    """Raise the alerts that are due; 0, because there is never more to do at once. Raises DatabaseAway."""
    raised = raise_alerts(database, alert_rules(settings), alert_channels(settings))
    if raised:
        _log.warning("alerts_raised", count=raised, what_now="`ecg-node alerts ls` shows them")
        wake_tellers()
    return 0
