"""Alerts: what a person has to see, and that one has seen it."""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from console.visit import Visit
from core.errors import Rejected
from core.states import AlertKind
from records.alerts import acknowledge_alert, list_alerts

_LONGEST_WHY = 300
_WORDS = {
    AlertKind.SUSPECTED_INFARCTION: "Suspected infarction",
    AlertKind.UNANSWERED: "ECG without an answer",
    AlertKind.UNDELIVERED: "Results do not arrive",
}


def show(visit: Visit) -> Response:
    """Open alerts, or all of them."""
    everything = visit.given("all") == "1"
    rows = list_alerts(visit.database, open_only=not everything)
    visit.note_look("alerts", *(row.ecg_id for row in rows if row.ecg_id), unless=["alerts"])
    template = "alerts_rows.html" if visit.by_htmx else "alerts.html"
    return visit.page(template, title="Alerts", rows=rows, everything=everything, words=_WORDS)


def acknowledge(visit: Visit) -> Response:
    """Say that the alert was seen, and what was done."""
    number = int(visit.request.path_params["alert_id"])
    if number >= 1 << 31:
        raise HTTPException(404, "There is no such alert.")
    why = visit.form.get("why", "").replace("\0", "").strip()[:_LONGEST_WHY]
    if not why:
        raise Rejected("say what was done about the alert; it is kept in the trail")
    if not acknowledge_alert(visit.database, number, visit.person.name, why):
        raise Rejected("the alert is unknown, or somebody has acknowledged it already")
    return visit.back_to("/alerts")
