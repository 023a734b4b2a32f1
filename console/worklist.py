"""The worklist: live, newest first, urgent ones on top.

Filters that name a patient come in the body of a POST, so that no patient ID stands in an address, a browser's history
or a proxy's log.
"""

from datetime import timedelta

from starlette.responses import Response

from console.visit import Visit
from console.words import read_time
from core.states import JobState
from core.values import LABELS, Label
from records.worklist import Filters, list_calling_ae_titles, list_worklist

_KEY_DIGITS = 18


def show(visit: Visit) -> Response:
    """The first page, or one that a link asks for by label, state, day or AE title."""
    return _page(visit, "worklist.html")


def show_filtered(visit: Visit) -> Response:
    """The list by every filter; only the list itself when the page asks for it."""
    return _page(visit, "worklist_rows.html" if visit.by_htmx else "worklist.html")


def _page(visit: Visit, template: str) -> Response:
    before = _key(visit.given("before"))
    refreshing = visit.request.headers.get("x-refresh") == "true"
    found = list_worklist(visit.database, _filters(visit), before)
    visit.note_look("worklist", *(row.ecg_id for row in found.rows), unless=["worklist"])
    return visit.page(
        template,
        title="Worklist",
        found=found,
        before=before,
        refreshing=refreshing,
        titles=list_calling_ae_titles(visit.database) if template == "worklist.html" else [],
        labels=LABELS,
        states=list(JobState),
        given={name: visit.given(name) for name in ("label", "state", "since", "until", "ae", "patient", "accession")},
    )


def _key(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _KEY_DIGITS else None


def _filters(visit: Visit) -> Filters:
    label, state, zone = visit.given("label"), visit.given("state"), visit.settings.time_zone
    until = read_time(visit.given("until"), zone)
    return Filters(
        label=Label(label) if label in set(Label) else None,
        state=JobState(state) if state in set(JobState) else None,
        since=read_time(visit.given("since"), zone),
        until=until + timedelta(days=1) if until else None,  # the day itself is meant, to its end
        calling_ae_title=visit.given("ae"),
        patient_id=_only_text(visit.given("patient")),
        accession_number=_only_text(visit.given("accession")),
    )


def _only_text(text: str) -> str:
    return text.replace("\0", "")  # PostgreSQL keeps no NUL, and nothing that is kept has one
