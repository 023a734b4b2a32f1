"""`ecg-node reanalyse`: ECGs of the past, judged by the model that is in service now."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from cli.common import console, open_records, os_user, out
from cli.model_service import in_service, in_zone
from core.settings import read_settings


def add_commands(app: typer.Typer) -> None:
    """Add `reanalyse`."""
    app.command()(reanalyse)


def reanalyse(
    why: Annotated[str, typer.Option(help="The reason; kept in the trail.")],
    since: Annotated[datetime | None, typer.Option(help="ECGs that came from this time on.")] = None,
    until: Annotated[datetime | None, typer.Option(help="ECGs that came before this time.")] = None,
    uid: Annotated[list[str] | None, typer.Option(help="Only this SOP Instance UID; may be given again.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Only count.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge ECGs again, at low priority: new reports name the earlier ones, nothing is overwritten."""
    from records.reanalysis import Selection, queue_reanalysis

    if since is None and not uid:
        console.print("say which: --since 2026-01-31, or --uid 1.2.3")
        raise typer.Exit(2)
    settings = read_settings()
    selection = Selection(in_zone(since, settings), in_zone(until, settings), uid or ())
    with open_records(settings) as database:
        model = in_service(settings)
        done = queue_reanalysis(database, selection, model, os_user(), why, dry_run)
    if as_json:
        out.print_json(json.dumps(asdict(done) | {"dry_run": dry_run}))
        return
    out.print(
        f"{done.queued} ECGs {'would be' if dry_run else 'are'} queued for model {model.version}; not queued: "
        f"{done.answered_by_it} answered by it already, {done.waiting} waiting, "
        f"{done.superseded} pictures of an ECG whose waveform is judged, {done.deleted} without a file",
        highlight=False,
    )
