"""The trail: search, verify now, export."""

from collections.abc import Iterator
from datetime import timedelta

from starlette.responses import Response, StreamingResponse

from console.visit import Visit
from console.words import read_time
from core.states import EventKind
from records.audit_search import (
    Search,
    export_trail,
    find_last_verification,
    list_actors,
    search_trail,
    verify_and_record,
)
from records.one_ecg import find_ecg_id
from records.trail import record_event
from records.trail_export import csv_lines, json_lines

_NOBODY = -1
_FIELDS = ("kind", "actor", "ecg", "since", "until")


def show(visit: Visit) -> Response:
    """The events that match, newest first."""
    before = visit.given("before")
    key = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    return visit.page(
        "audit.html",
        title="Audit",
        found=search_trail(visit.database, _search(visit), key),
        kinds=sorted(EventKind),
        actors=list_actors(visit.database),
        given={name: visit.given(name) for name in _FIELDS},
        verification=find_last_verification(visit.database),
        before=key,
    )


def _search(visit: Visit) -> Search:
    kind, ecg, zone = visit.given("kind"), visit.given("ecg"), visit.settings.time_zone
    until = read_time(visit.given("until"), zone)
    if until is not None and "T" not in visit.given("until"):
        until += timedelta(days=1)
    return Search(
        kinds=[EventKind(kind)] if kind in set(EventKind) else [],
        actor=visit.given("actor").replace("\0", ""),
        ecg_id=(find_ecg_id(visit.database, ecg.replace("\0", "")) or _NOBODY) if ecg else None,
        since=read_time(visit.given("since"), zone),
        until=until,
    )


def verify(visit: Visit) -> Response:
    """Recompute the whole chain now."""
    verify_and_record(visit.database, visit.person.name)
    return visit.back_to("/audit#verification")


def export_csv(visit: Visit) -> Response:
    """The events that match as comma-separated values. RFC 4180."""
    _record_export(visit, "csv")
    return _download(csv_lines(export_trail(visit.database, _search(visit))), "text/csv", "trail.csv")


def export_jsonl(visit: Visit) -> Response:
    """The events that match as one JSON object a line."""
    _record_export(visit, "jsonl")
    return _download(json_lines(export_trail(visit.database, _search(visit))), "application/jsonl", "trail.jsonl")


def _record_export(visit: Visit, form: str) -> None:
    search = {name: visit.given(name) for name in _FIELDS if visit.given(name)}
    record_event(visit.database, EventKind.TRAIL_EXPORTED, actor=visit.person.name, format=form, search=search)


def _download(lines: Iterator[str], media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines, media_type=media_type, headers=headers)
