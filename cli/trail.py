"""`ecg-node audit`: the trail."""

import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.common import console, open_records, os_user, out
from core.errors import EcgNodeError
from core.settings import Settings, read_settings
from core.states import EventKind

if TYPE_CHECKING:
    from records.audit_search import Entry, Search

app = typer.Typer(help="The append-only history of every ECG.", no_args_is_help=True)

Kinds = Annotated[list[EventKind] | None, typer.Option("--kind", help="Only events of this kind; may be repeated.")]
Actor = Annotated[str, typer.Option(help="Only what this person, AE title or process did.")]
Ecg = Annotated[str, typer.Option(help="Only what happened to the ECG with this SOP Instance UID.")]
Since = Annotated[datetime | None, typer.Option(help="Only from this time on, in this machine's zone.")]
Until = Annotated[datetime | None, typer.Option(help="Only before this time.")]


class ExportFormat(StrEnum):
    """How the trail is written."""

    CSV = "csv"
    JSONL = "jsonl"
    XML = "xml"


@app.callback()
def audit() -> None:
    """The append-only history of every ECG."""


@app.command()
def verify() -> None:
    """Recompute the whole hash chain, and put that on record; the first entry that does not hold is named."""
    from records.audit import verify_trail
    from records.audit_search import record_verification

    with open_records(read_settings()) as database:
        verdict = verify_trail(database)
        try:
            record_verification(database, os_user(), verdict)
        except EcgNodeError as error:
            console.print(f"the verification itself could not be put on record: {error}", highlight=False)
    if verdict.fault:
        out.print(f"[red]BROKEN[/red] after {verdict.entries} good entries: {verdict.fault}", highlight=False)
        raise typer.Exit(1)
    out.print(f"[green]good[/green]: {verdict.entries} entries, none changed, removed or moved", highlight=False)


@app.command()
def search(
    kind: Kinds = None,
    actor: Actor = "",
    ecg: Ecg = "",
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Most events that are shown.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show events of the trail, newest first."""
    from records.audit_search import search_trail
    from records.trail_export import json_lines

    with open_records(read_settings()) as database:
        found = search_trail(database, _wanted(database, kind, actor, ecg, since, until), limit=limit)
    if as_json:
        sys.stdout.writelines(json_lines(found.entries))
        return
    _print(found.entries)
    if found.older is not None:
        out.print(f"There are more; --limit {10 * limit} shows them, or `ecg-node audit export`.", highlight=False)


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")],
    form: Annotated[ExportFormat, typer.Option("--format", help="xml: audit messages of DICOM PS3.15 A.5.")],
    kind: Kinds = None,
    actor: Actor = "",
    ecg: Ecg = "",
    since: Since = None,
    until: Until = None,
) -> None:
    """Write events of the trail, oldest first, to a file; the export itself is put on record."""
    from records.audit_search import export_trail
    from records.trail import record_event

    settings = read_settings()
    with open_records(settings) as database, to.open("x", encoding="utf-8", newline="") as file:
        to.chmod(0o600)
        entries = export_trail(database, _wanted(database, kind, actor, ecg, since, until))
        count = 0
        for count, piece in enumerate(_written(form, settings)(entries), start=1):  # noqa: B007
            file.write(piece)
        record_event(database, EventKind.TRAIL_EXPORTED, actor=os_user(), format=form.value, file=to.name)
    out.print(f"{count} lines in {to}", highlight=False, soft_wrap=True)


def _written(form: ExportFormat, settings: Settings) -> "Callable[[Iterable[Entry]], Iterator[str]]":
    from dicom_node.audit_messages import audit_messages
    from records.trail_export import csv_lines, json_lines

    if form is ExportFormat.XML:
        return lambda entries: audit_messages(entries, settings.installation)
    return csv_lines if form is ExportFormat.CSV else json_lines


def _wanted(
    database: object,
    kind: list[EventKind] | None,
    actor: str,
    ecg: str,
    since: datetime | None,
    until: datetime | None,
) -> "Search":
    from records.audit_search import Search
    from records.database import Database
    from records.one_ecg import find_ecg_id

    assert isinstance(database, Database)
    ecg_id = find_ecg_id(database, ecg) if ecg else None
    if ecg and ecg_id is None:
        out.print(f"no ECG with SOP Instance UID {ecg} was received", highlight=False)
        raise typer.Exit(1)
    return Search(kind or (), actor, ecg_id, since, until)


def _print(entries: "Iterable[Entry]") -> None:
    table = Table("no.", "when", "what", "who", "ECG", "more")
    for one in entries:
        more = ", ".join(f"{name} {value}" for name, value in one.details.items() if value not in (None, "", []))
        when = one.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(str(one.seq), when, one.kind, one.actor, str(one.ecg_id or ""), more)
    out.print(table)
