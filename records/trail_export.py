"""The trail for other programs: comma-separated values and JSON lines."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC

from records.audit_search import Entry
from records.trail import canonical

COLUMNS = ("seq", "at", "kind", "actor", "ecg_id", "details", "hash")


def csv_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """A head line and one line an entry. RFC 4180."""
    yield _csv(COLUMNS)
    for entry in entries:
        details = canonical(entry.details)
        yield _csv((entry.seq, utc_time(entry), entry.kind, entry.actor, entry.ecg_id, details, entry.hash))


def json_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """One JSON object an entry, each on a line of its own."""
    for entry in entries:
        yield json.dumps({**asdict(entry), "at": utc_time(entry)}, ensure_ascii=False) + "\n"


def utc_time(entry: Entry) -> str:
    """When it happened, in UTC with milliseconds, as in 2026-01-31T23:59:59.000Z."""
    return entry.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _csv(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([_harmless(value) for value in values])
    return line.getvalue()


def _harmless(value: object) -> object:
    """A text that a spreadsheet would run as a formula gets a quote before it. OWASP: CSV injection."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value
