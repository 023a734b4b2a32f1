"""What an alert says, in words for people; never with patient data."""

from collections.abc import Mapping
from typing import Any

from core.states import AlertKind
from core.values import NOTICE


def alert_text(kind: AlertKind, details: Mapping[str, Any]) -> str:
    """One sentence on what happened, and what to do."""
    if kind is AlertKind.SUSPECTED_INFARCTION:
        percent, least = 100 * details["probability"], 100 * details["threshold"]
        return f"Suspected myocardial infarction: probability {percent:.1f} %, alert from {least:g} %. {NOTICE}"
    if kind is AlertKind.UNANSWERED:
        return f"An ECG has no answer: {details['why']}. Read it by eye; `ecg-node status` shows what is stuck."
    return (
        f"Results do not reach {details['destination']}: {details['why']}. "
        "They are kept and tried again; `ecg-node doctor` looks at the destination."
    )
