"""`ecg-node check`: what must always hold, looked at without changing anything."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.common import open_records, out
from core.settings import Settings, read_settings

if TYPE_CHECKING:
    from records.checks import Looked
    from records.database import Database

ANSWER_LIMIT_S = 600.0


def add_commands(app: typer.Typer) -> None:
    """Add `check`."""
    app.command()(check)


def check(
    limit_s: Annotated[float, typer.Option(help="Seconds within which an ECG is answered and sent.")] = ANSWER_LIMIT_S,
    quick: Annotated[bool, typer.Option(help="Presence and size of files only, not their content.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Look whether rows, files, hashes, jobs, deliveries and the trail agree. Exit code 1 when something does not."""
    settings = read_settings()
    with open_records(settings) as database:
        looks = look_at_all(settings, database, limit_s, quick)
    if as_json:
        out.print_json(json.dumps([asdict(one) for one in looks]))
    else:
        _print(looks)
    if any(one.findings for one in looks):
        raise typer.Exit(1)


def look_at_all(settings: Settings, database: "Database", limit_s: float, quick: bool = False) -> list["Looked"]:
    """Every look, files first."""
    from dicom_node.checks import check_files
    from records.checks import check_records

    return [*check_files(settings, database, quick), *check_records(database, limit_s)]


def _print(looks: list["Looked"]) -> None:
    table = Table("what must hold", "looked at", "state", "findings")
    for one in looks:
        state = "[red]does not hold[/red]" if one.findings else "[green]holds[/green]"
        table.add_row(one.what, str(one.number), state, "\n".join(one.findings))
    out.print(table)
