"""The trail: search, verify now, export."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta

from starlette.responses import Response, StreamingResponse

from console.visit import Visit
from console.words import read_time, utc_text
from core.states import EventKind
from records.audit_search import (
    Entry,
    Search,
    export_trail,
    find_last_verification,
    list_actors,
    search_trail,
    verify_and_record,
)
from records.one_ecg import find_ecg_id
from records.trail import canonical, record_event

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
    return _download(_csv_lines(visit), "text/csv", "trail.csv")


def export_jsonl(visit: Visit) -> Response:
    """The events that match as one JSON object a line."""
    _record_export(visit, "jsonl")
    lines = (
        json.dumps(_plain(entry), ensure_ascii=False) + "\n" for entry in export_trail(visit.database, _search(visit))
    )
    return _download(lines, "application/jsonl", "trail.jsonl")


def _record_export(visit: Visit, form: str) -> None:
    search = {name: visit.given(name) for name in _FIELDS if visit.given(name)}
    record_event(visit.database, EventKind.TRAIL_EXPORTED, actor=visit.person.name, format=form, search=search)


def _csv_lines(visit: Visit) -> Iterator[str]:
    yield _csv(["seq", "at", "kind", "actor", "ecg_id", "details", "hash"])
    for entry in export_trail(visit.database, _search(visit)):
        details = canonical(entry.details)
        yield _csv([entry.seq, utc_text(entry.at), entry.kind, entry.actor, entry.ecg_id, details, entry.hash])


def _csv(values: list[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([_harmless(value) for value in values])
    return line.getvalue()


def _harmless(value: object) -> object:
    """A text that a spreadsheet would run as a formula gets a quote before it. OWASP: CSV injection."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def _plain(entry: Entry) -> dict[str, object]:
    return {**asdict(entry), "at": utc_text(entry.at)}


def _download(lines: Iterator[str], media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines, media_type=media_type, headers=headers)
