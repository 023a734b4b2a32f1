"""`ecg-node ls` and `ecg-node show`: what happened to the ECGs, in a terminal."""

import getpass
import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cli.common import open_records, out
from core.errors import Rejected
from core.settings import Settings, read_settings
from core.states import EventKind, JobState
from core.values import NOTICE, Label

if TYPE_CHECKING:
    from records.database import Database
    from records.one_ecg import OneEcg
    from records.worklist import WorklistRow

_COLOURS = {"good": "green", "warn": "yellow", "bad": "red", "busy": "blue", "quiet": "dim"}
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def add_commands(app: typer.Typer) -> None:
    """Add `ls` and `show`."""
    app.command()(ls)
    app.command()(show)


def ls(
    label: Annotated[Label | None, typer.Option(help="Only ECGs with this finding.")] = None,
    state: Annotated[JobState | None, typer.Option(help="Only ECGs in this state.")] = None,
    ae: Annotated[str, typer.Option(help="Only from this calling AE title; * and ? match.")] = "",
    patient_id: Annotated[str, typer.Option(help="Only of this patient; * and ? match.")] = "",
    accession: Annotated[str, typer.Option(help="Only with this accession number; * and ? match.")] = "",
    since: Annotated[datetime | None, typer.Option(help="Received at or after, in the site's zone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most lines.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the ECGs: urgent and unread ones first, then the newest."""
    from console.words import read_time
    from records.worklist import Filters, list_worklist

    settings = read_settings()
    begin = read_time(since.isoformat(), settings.time_zone) if since else None
    filters = Filters(label, state, begin, None, ae, patient_id, accession)
    with open_records(settings) as database:
        rows = list_worklist(database, filters, limit=limit).rows[:limit]
        _note_look(database, "cli ls", *(row.ecg_id for row in rows))
    if as_json:
        out.print_json(json.dumps([_plain_row(row) for row in rows]))
        return
    table = Table("ECG", "received", "from", "patient", "finding", "state", "PACS", caption=NOTICE)
    for row in rows:
        table.add_row(*_cells(row, settings))
    out.print(table)


def _cells(row: "WorklistRow", settings: Settings) -> tuple[Text | str, ...]:
    from console.words import clean, delivery_word, job_word, label_word, name_text, percent, time_text

    finding = f"{label_word(row.label).text} {percent(row.probability)}" if row.label else ""
    state = job_word(row.state, row.disposition)
    return (
        Text(f"{row.ecg_id}{' STAT' if row.stat else ''}"),
        time_text(row.received_at, settings.time_zone, "%m-%d %H:%M:%S"),
        Text(clean(row.calling_ae_title)),
        Text(f"{name_text(row.patient_name)}\n{clean(row.patient_id)}"),
        Text(finding, _COLOURS[label_word(row.label).tone]),
        Text(state.text, _COLOURS[state.tone]),
        Text(", ".join(f"{delivery_word(word).text} {number}" for word, number in row.deliveries)),
    )


def _plain_row(row: "WorklistRow") -> dict[str, Any]:
    return _plain({name: getattr(row, name) for name in row.__slots__})


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def show(
    uid: Annotated[str, typer.Argument(help="SOP Instance UID, or the ECG's number.")], as_json: AsJson = False
) -> None:
    """Show one ECG: what came, what was said of it, where the reports went, and its trail."""
    from records.one_ecg import find_ecg, find_ecg_id

    settings = read_settings()
    with open_records(settings) as database:
        ecg_id = find_ecg_id(database, uid)
        found = find_ecg(database, ecg_id) if ecg_id else None
        if found is None:
            raise Rejected(f"there is no ECG {uid}; `ecg-node ls` lists what there is")
        _note_look(database, "cli show", found.instance.id)
    if as_json:
        out.print_json(json.dumps(_plain_ecg(found)))
        return
    _print_ecg(found, settings)


def _plain_ecg(found: "OneEcg") -> dict[str, Any]:
    return {
        "instance": _columns(found.instance),
        "jobs": [
            {
                **_columns(one.job),
                "classifications": [_columns(said) for said in one.said],
                "reports": [_columns(report) for report in one.reports],
                "deliveries": [_columns(sent) for sent in one.deliveries],
            }
            for one in found.jobs
        ],
        "final_reads": [_columns(read) for read in found.reads],
        "trail": [{**_columns(event), "details": json.loads(event.details)} for event in found.trail],
    }


def _columns(row: Any) -> dict[str, Any]:
    return _plain({column.name: getattr(row, column.name) for column in row.__table__.columns})


def _print_ecg(found: "OneEcg", settings: Settings) -> None:
    from console.words import clean, name_text, time_text

    instance, zone = found.instance, settings.time_zone
    facts = Table("what", "value", show_header=False, title=f"ECG {instance.id}", caption=NOTICE)
    for name, value in (
        ("patient", f"{name_text(instance.patient_name)} ({instance.patient_id or 'no patient ID'})"),
        ("accession", instance.accession_number),
        ("SOP Instance UID", instance.sop_instance_uid),
        ("received", f"{time_text(instance.received_at, zone)} from {instance.calling_ae_title}"),
        ("file", f"{instance.path}, {instance.size_bytes} bytes, {instance.disposition}"),
    ):
        facts.add_row(name, Text(clean(value)))
    out.print(facts)
    _print_answers(found)
    trail = Table("no.", "time", "event", "who", "details")
    for event in found.trail:
        at = time_text(datetime.fromisoformat(event.at), zone)
        trail.add_row(str(event.seq), at, event.kind, Text(clean(event.actor)), Text(event.details))
    out.print(trail)


def _print_answers(found: "OneEcg") -> None:
    from console.words import clean, delivery_word, job_word, label_word, percent, reason_text, status_text

    answers = Table("request", "state", "picture", "finding", "normal", "abnormal", "infarction", "weights")
    sent = Table("destination", "report", "state", "status", "tries", "last error")
    for one in found.jobs:
        state = job_word(one.job.state)
        for said in one.said or [None]:
            finding = label_word(said.label).text if said and said.label else reason_text(one.job.reason)
            shares = ("normal", "abnormal_heartbeat", "myocardial_infarction")
            bars = [percent(getattr(said, f"probability_{share}", None)) for share in shares]
            picture, weights = (str(said.frame), said.weights_sha256[:12]) if said else ("", "")
            words = (Text(one.job.request), Text(state.text, _COLOURS[state.tone]), picture, Text(finding))
            answers.add_row(*words, *bars, weights)
        for row in one.deliveries:
            word, status = delivery_word(row.state), status_text(row.last_status)
            cells = (row.destination, row.kind, Text(word.text, _COLOURS[word.tone]), status, str(row.attempt))
            sent.add_row(*cells, Text(clean(row.last_error or "")))
    out.print(answers)
    if sent.row_count:
        out.print(sent)


def _note_look(database: "Database", page: str, *ecgs: int) -> None:
    from records.clock import database_time
    from records.trail import add_event

    with database.writing() as session:
        now = database_time(session)
        for ecg in ecgs:
            add_event(
                session,
                EventKind.PATIENT_DATA_VIEWED,
                actor=f"cli:{getpass.getuser()}",
                at=now,
                ecg_id=ecg,
                page=page,
            )
